"""Compares readers of captions on the table of tests/data/nouns, and ways to singulars.

    python -m benchmarks.nouns

A package that is not installed is left out and said so. TextBlob, NLTK, inflect and
textblob-aptagger are no dependencies: `pip install --target FOLDER textblob inflect
textblob-aptagger` and PYTHONPATH=FOLDER bring them in.
"""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.noun_readers import taggers
from benchmarks.noun_readers.table import Reader, class_names, measure
from imig.stages import word_classes
from imig.stages.nouns import caption_to_phrases, singular

FORMER_RULES = "c2a4b45"
"""The last commit with the reader that knew words by lists only."""


@dataclass(frozen=True)
class Candidate:
    """A reader, the packages it needs, and the licence of their code and data."""

    name: str
    packages: tuple[str, ...]
    licence: str
    make: Callable[[], Reader]


def candidates() -> list[Candidate]:
    brill = "MIT; lexicon MIT and CC BY 3.0"
    return [
        Candidate(f"word lists ({FORMER_RULES})", (), "ours", former_rules),
        Candidate(
            "our rules, HanTa",
            ("HanTa", "lemminflect"),
            "LGPL-3.0+ (HanTa), MIT (lemminflect)",
            lambda: caption_to_phrases,
        ),
        Candidate(
            "our rules, no tagger",
            ("lemminflect",),
            "MIT",
            lambda: with_tagger(taggers.no_tagger()),
        ),
        Candidate(
            "our rules, TextBlob's tagger",
            ("textblob", "nltk", "lemminflect"),
            brill,
            lambda: with_tagger(taggers.textblob_tagger()),
        ),
        Candidate(
            "our rules, textblob-aptagger",
            ("textblob_aptagger", "nltk", "lemminflect"),
            "MIT",
            lambda: with_tagger(taggers.perceptron_tagger()),
        ),
        Candidate("TextBlob's chunker", ("textblob", "nltk"), brill, textblob_chunker),
        Candidate("NLTK's tagger", ("nltk",), "Apache-2.0, ships no data", nltk_tagger),
        Candidate("spaCy, en_core_web_sm", ("spacy", "en_core_web_sm"), "MIT", spacy_chunks),
    ]


def former_rules() -> Reader:
    """The reader by word lists, out of this repository's history."""
    lexicon, nouns = types.ModuleType("former_lexicon"), types.ModuleType("former_nouns")
    exec(_former("lexicon"), lexicon.__dict__)
    sys.modules["former_nouns"] = nouns  # its dataclass looks there for its own module
    nouns.__dict__["lexicon"] = lexicon
    exec(_former("nouns").replace("from imig.stages import lexicon", ""), nouns.__dict__)
    reader: Reader = nouns.__dict__["caption_to_phrases"]
    return reader


def _former(module: str) -> str:
    command = ["git", "show", f"{FORMER_RULES}:imig/stages/{module}.py"]
    root = Path(__file__).parents[1]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


def with_tagger(tagger: Any) -> Reader:
    def read(caption: str) -> list[str]:
        with _tagger_replaced(tagger):
            return caption_to_phrases(caption)

    return read


@contextmanager
def _tagger_replaced(tagger: Any) -> Iterator[None]:
    word_classes._possible.cache_clear()
    with mock.patch.object(word_classes, "_tagger", return_value=tagger):
        yield
    word_classes._possible.cache_clear()


def textblob_chunker() -> Reader:
    parse = import_module("textblob.en").parse

    def read(caption: str) -> list[str]:
        phrases: list[list[str]] = []
        for token in str(parse(caption)).split():
            word, tag, piece, *_ = token.split("/") if token.count("/") == 3 else ("", "", "O")
            if piece == "B-NP":
                phrases.append([])
            if piece.endswith("-NP") and tag[:2] in ("NN", "JJ", "VB"):
                phrases[-1].append(word.lower())
        return [" ".join([*words[:-1], singular(words[-1])]) for words in phrases if words]

    return read


def nltk_tagger() -> Reader:
    nltk = import_module("nltk")
    return with_tagger(
        taggers.PennTagger(lambda words: [tag for _, tag in nltk.pos_tag(list(words))])
    )


def spacy_chunks() -> Reader:
    """The chunks of the official model, where a user has it."""
    pipeline = import_module("en_core_web_sm").load()

    def read(caption: str) -> list[str]:
        found: list[str] = []
        for span in pipeline(caption).noun_chunks:
            words = [word for word in span if word.pos_ in ("NOUN", "PROPN", "ADJ", "VERB")]
            if words:
                *modifiers, head = (word.lower_ for word in words)
                found.append(" ".join([*modifiers, singular(head)]))
        return found

    return read


def megabytes(packages: tuple[str, ...]) -> float:
    """What the packages take on disk, compiled files left out."""
    total = 0
    for package in packages:
        location = import_module(package).__file__ if package != "textblob_aptagger" else None
        folder = Path(location or "").parent if location else _sibling("nltk", package)
        files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
        total += sum(path.stat().st_size for path in files)
    return total / 2**20


def _sibling(package: str, name: str) -> Path:
    return Path(import_module(package).__file__ or "").parents[1] / name


def singulars() -> Iterator[tuple[str, float]]:
    """Shares of the class names' plurals that come back as the name."""
    pairs = [
        (name.split()[-1].lower(), plural.split()[-1].lower())
        for dataset in ("coco", "lvis")
        for name, plural in class_names(dataset)
    ]
    ways: dict[str, Callable[[str], str]] = {"ours": singular}
    lemma = import_module("lemminflect").getLemma
    ways["lemminflect"] = lambda noun: str(lemma(noun, "NOUN")[0])
    try:
        engine = import_module("inflect").engine()
        ways["inflect"] = lambda noun: str(engine.singular_noun(noun) or noun)
    except ImportError:
        print("inflect: not installed")
    for name, way in ways.items():
        yield name, sum(way(plural) == one for one, plural in pairs) / len(pairs)


def _first_line(error: Exception) -> str:
    lines = (line.strip(" *") for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def main() -> None:
    print("| reader | exact | held out | precision | recall | COCO | LVIS | µs | MB | licence |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for one in candidates():
        try:
            read = one.make()
            read("a dog")
        except (ImportError, LookupError, FileNotFoundError) as error:
            print(f"| {one.name} | not measured: {_first_line(error)} |")
            continue
        f = measure(read)
        shares = [f.exact, f.exact_held_out, f.precision, f.recall]
        classes = [f"{a:.1%} / {b:.1%}" for a, b in (f.coco, f.lvis)]
        cost = [f"{f.microseconds:.0f}", f"{megabytes(one.packages):.1f}", one.licence]
        cells = [one.name, *(f"{share:.1%}" for share in shares), *classes, *cost]
        print(f"| {' | '.join(cells)} |")
    print("\nsingulars of the class names' plurals:")
    for name, share in singulars():
        print(f"  {name}: {share:.1%}")


if __name__ == "__main__":
    main()

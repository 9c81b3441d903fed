"""Other taggers, in the place of HanTa behind the same rules."""

from __future__ import annotations

import pickle
from importlib import import_module
from pathlib import Path
from typing import Any

PENN_TO_C5 = {
    "NN": "NN1", "NNS": "NN2", "NNP": "NP0", "NNPS": "NN2", "FW": "UNC", "JJ": "AJ0", "JJR": "AJC",
    "JJS": "AJS", "VBG": "VVG", "VBN": "VVN", "VBD": "VVD", "VBZ": "VVZ", "VB": "VVI",
    "VBP": "VVB", "RB": "AV0", "RBR": "AV0", "RBS": "AV0", "RP": "AV0", "CD": "CRD", "DT": "AT0",
    "IN": "PRP",
}  # fmt: skip
DICTIONARY_TO_C5 = {"NOUN": ("NN1",), "PROPN": ("NP0",), "ADJ": ("AJ0",), "ADV": ("AV0",)}


class PennTagger:
    """A tagger of the Penn tagset; the classes a word can have come from lemminflect."""

    def __init__(self, tag_words: Any) -> None:
        self.tag_words = tag_words
        self.lemmas = import_module("lemminflect").getAllLemmas

    def tag_sent(self, sent: list[str], taglevel: int = 0) -> list[str]:
        tags = self.tag_words(sent)
        return [PENN_TO_C5.get(tag.split("-")[0], "PUN") for tag in tags]

    def tag_word(self, word: str) -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = []
        for kind in self.lemmas(word):
            found.extend((tag, 0.0) for tag in DICTIONARY_TO_C5.get(kind, _verb_tags(word, kind)))
        return found or [("NN1", 0.0)]


def _verb_tags(word: str, kind: str) -> tuple[str, ...]:
    if kind != "VERB":
        return ()
    for ending, tag in (("ing", "VVG"), ("ed", "VVN"), ("s", "VVZ")):
        if word.endswith(ending):
            return (tag,)
    return ("VVB",)


def textblob_tagger() -> PennTagger:
    """TextBlob's shipped tagger: Brill's lexicon and rules, by way of `pattern`."""
    tag = import_module("textblob.en").tag

    def tag_words(words: list[str]) -> list[str]:
        tags = [pair[1] for pair in tag(" ".join(words), tokenize=False)]
        return tags if len(tags) == len(words) else ["NN"] * len(words)

    return PennTagger(tag_words)


def perceptron_tagger() -> PennTagger:
    """textblob-aptagger's model; its own code no longer imports, NLTK's is the same algorithm."""
    folder = Path(import_module("nltk").__file__ or "").parents[1] / "textblob_aptagger"
    with (folder / "trontagger-0.1.0.pickle").open("rb") as file:
        weights, known, classes = pickle.load(file)
    tagger = import_module("nltk.tag.perceptron").PerceptronTagger(load=False)
    tagger.model.weights, tagger.tagdict, tagger.classes = weights, known, classes
    tagger.model.classes = classes
    return PennTagger(lambda words: [tag for _, tag in tagger.tag(words)])


def no_tagger() -> PennTagger:
    """Every word of an open class a noun: what the rules and the dictionary do alone."""
    return PennTagger(lambda words: ["NN"] * len(words))

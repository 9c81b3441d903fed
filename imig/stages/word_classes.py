"""Words of a caption -> their classes: closed classes by `lexicon`, the others by a tagger.

The tagger is HanTa's English model, which its package ships: a hidden Markov model over morphemes
and a trigram model over classes (Wartena, "The Hanover Tagger", 2019). It knows words it has never
seen by their form. Loading takes 0.2 s and 50 MB, once a process and only when a caption is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache, lru_cache
from pathlib import Path
from typing import Protocol, cast

from imig.stages import lexicon
from imig.stages.caption_words import is_capitalised, is_word


class Kind(Enum):
    """Classes as far as noun phrases need them."""

    OPENER = "determiner or number"
    NOUN = "noun"
    ADJECTIVE = "adjective"
    ING = "participle in -ing"
    PAST = "past tense or past participle"
    VERB_S = "verb, third person"
    VERB_BASE = "verb, base form"
    ADVERB = "adverb"
    PREPOSITION = "preposition"
    OWNER = "possessive ending"
    FUNCTION = "pronoun, conjunction, auxiliary"
    MARK = "punctuation"


OPEN_KINDS = {
    **dict.fromkeys(("NN0", "NN1", "NN2", "NN", "NP0", "UNC", "ZZ0", "ITJ"), Kind.NOUN),
    **dict.fromkeys(("AJ0", "AJC", "AJS", "ORD"), Kind.ADJECTIVE),
    **dict.fromkeys(("VVG", "VHG", "VDG", "VBG"), Kind.ING),
    "VVN": Kind.PAST,
    "VVD": Kind.PAST,
    "VVZ": Kind.VERB_S,
    "VVB": Kind.VERB_BASE,
    "VVI": Kind.VERB_BASE,
    "AV0": Kind.ADVERB,
}
"""The tagger's classes (C5, the tagset of the British National Corpus) that take new words."""

LONGEST_WORD = 40
"""Letters; the tagger's time grows with the square of a word's length."""


@dataclass(frozen=True)
class Word:
    """One token: its lower-case text, its class here, and the classes it may have elsewhere."""

    text: str
    kind: Kind
    capitalised: bool = False
    is_acronym: bool = False
    could_be: frozenset[Kind] = frozenset()

    @property
    def could_be_noun(self) -> bool:
        return self.kind is Kind.NOUN or Kind.NOUN in self.could_be


class _Tagger(Protocol):
    def tag_sent(self, sent: list[str], taglevel: int) -> list[str]: ...

    def tag_word(self, word: str) -> list[tuple[str, float]]: ...


@cache
def _tagger() -> _Tagger:
    from HanTa import HanoverTagger  # 50 MB, for those who read captions

    # Its model is a pickle. By its name alone HanTa would take it from the current folder first,
    # where anybody's data may lie.
    model = Path(HanoverTagger.__file__).parent / "morphmodel_en.pgz"
    return cast(_Tagger, HanoverTagger.HanoverTagger(str(model)))


def classify(tokens: list[str]) -> list[Word]:
    """The class of every token, each sentence tagged as a whole.

    In a caption of another language whose commonest words are known, all others are nouns.
    """
    foreign = _foreign_function_words(tokens)
    if foreign:
        return [_foreign_word(token, foreign) for token in tokens]
    words: list[Word] = []
    start = 0
    for position, token in enumerate(tokens):
        if token in lexicon.SENTENCE_ENDS or position == len(tokens) - 1:
            sentence = tokens[start : position + 1]
            tags = _tag(tuple(sentence))
            nexts = [*sentence[1:], ""]
            words.extend(
                _word(token, tag, following.lower())
                for token, tag, following in zip(sentence, tags, nexts, strict=True)
            )
            start = position + 1
    return words


def _foreign_function_words(tokens: list[str]) -> frozenset[str]:
    """Those of the language of which there are most, none if English has as many."""
    texts = [token.lower() for token in tokens]
    closed = lexicon.DETERMINERS | lexicon.PREPOSITIONS | lexicon.FUNCTION_WORDS | lexicon.NUMBERS
    english = sum(text in closed for text in texts)
    counts = {
        language: sum(text in words for text in texts)
        for language, words in lexicon.FOREIGN_FUNCTION_WORDS.items()
    }
    language = max(counts, key=lambda one: counts[one])
    if counts[language] <= english or (counts[language] < 2 and texts and texts[0].isascii()):
        return frozenset()
    return lexicon.FOREIGN_FUNCTION_WORDS[language]


def _foreign_word(token: str, function_words: frozenset[str]) -> Word:
    text = token.lower()
    if text in function_words:
        return Word(text, Kind.FUNCTION)
    return Word(text, Kind.NOUN if is_word(text) else Kind.MARK)


def _tag(sentence: tuple[str, ...]) -> list[str]:
    known = [_mark(token) if len(token) == 1 else token[-LONGEST_WORD:] for token in sentence]
    return _tagger().tag_sent(known, taglevel=0)


def _mark(token: str) -> str:
    """Marks that no corpus has are commas to the tagger."""
    return token if token.isascii() and token not in "<>|~^*=+#@\\{}" else ","


@lru_cache(maxsize=8192)
def _possible(word: str) -> frozenset[Kind]:
    """Open classes of a word by itself, those e^5 times rarer than the commonest left out."""
    if len(word) > LONGEST_WORD:
        return frozenset({Kind.NOUN})
    return frozenset(OPEN_KINDS[tag] for tag, _ in _tagger().tag_word(word) if tag in OPEN_KINDS)


def _word(token: str, tag: str, following: str) -> Word:
    text = token.lower()
    acronym = len(token) > 1 and token.isupper()
    closed = _closed_kind(text, tag, following)
    if closed is not None:
        return Word(text, closed, is_capitalised(token), acronym)
    could_be = _possible(text) | ({Kind.NOUN} if text == "can" else set())
    kind = _open_kind(text, tag, could_be)
    return Word(text, kind, is_capitalised(token), acronym, could_be)


def _closed_kind(text: str, tag: str, following: str) -> Kind | None:
    if text == "'s":
        return Kind.OWNER
    if text in lexicon.DETERMINERS or text in lexicon.NUMBERS or _is_number(text):
        return Kind.OPENER
    if not is_word(text):
        return Kind.MARK
    if text == "can" and (tag.startswith("NN") or _ends_phrase(following)):
        return None  # a vessel
    if text in lexicon.PREPOSITIONS:
        return Kind.PREPOSITION
    if text in lexicon.FUNCTION_WORDS or text.endswith("n't"):
        return Kind.FUNCTION
    return Kind.ADVERB if text in lexicon.INTENSIFIERS else None


def _ends_phrase(following: str) -> bool:
    """Whether the next token is none that a modal verb could go with."""
    return (
        not is_word(following)
        or following in lexicon.PREPOSITIONS
        or following in ("and", "or", "is", "are", "that", "which")
    )


def _is_number(text: str) -> bool:
    """ "3", "1,000", "60s"; not "3d" or "4k", which are parts of names."""
    return text.rstrip("s").replace(",", "").replace(".", "").isdigit()


def _open_kind(text: str, tag: str, could_be: frozenset[Kind]) -> Kind:
    if text in lexicon.ALWAYS_ADJECTIVES:
        return Kind.ADJECTIVE
    if text in lexicon.ADJECTIVES and tag not in ("NN1", "NN2", "NP0"):
        return Kind.ADJECTIVE
    if text in lexicon.ALWAYS_NOUNS:
        return Kind.NOUN
    if tag == "AJC" and text.endswith("er") and Kind.ADJECTIVE not in _possible(text[:-2]):
        return Kind.NOUN  # "a pencil sharpener"
    kind = OPEN_KINDS.get(tag)
    if kind is not None:
        return kind
    return Kind.NOUN if Kind.NOUN in could_be or not could_be else min(could_be, key=_order)


def _order(kind: Kind) -> int:
    return list(Kind).index(kind)

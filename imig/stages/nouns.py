"""Captions -> noun phrases to look for.

A phrase is a run of adjectives and nouns between words that cannot be part of one (determiners,
prepositions, verbs, punctuation). Which class a word has is told by closed lists and, for all
others, by a tagger that comes with a package (`word_classes`); no model is downloaded. The head,
the last word, is put into the singular, since a detector asked for "dog" finds all dogs. Left out
are phrases whose head names no object (`lexicon.ABSTRACT`) or the surroundings
(`lexicon.SURROUNDINGS`), what the caption says is not there (`negation`), the names that somebody
is called by, and what belongs to a style ("in the style of Van Gogh").

Limits: English. Of text in another language written with Latin letters the phrases are the
tagger's guess, which mostly holds the nouns and often more; of other scripts each run of letters
between blanks and marks is a phrase as it stands. Adjectives after their noun are lost. Fixed
names with "of" ("chest of drawers") are two phrases, like "vase of flowers".
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from imig.stages import lexicon
from imig.stages.caption_words import caption_to_words
from imig.stages.chunks import Chunk, chunk
from imig.stages.negation import denied
from imig.stages.plurals import looks_plural, singular
from imig.stages.word_classes import Kind, Word, classify
from imig.text import text_to_plain

_OPENERS = lexicon.DETERMINERS | lexicon.NUMBERS
_MEASURE_OF_IMAGES = re.compile(r"\d+(?:k|p|mm|px|fps|bit|hdr|dpi)")

__all__ = ["caption_to_phrases", "head_noun", "phrase_to_noun", "singular"]


def caption_to_phrases(caption: str, *, ignored: Collection[str] = ()) -> list[str]:
    """Noun phrases in the caption's order, lower case, without articles and numbers, each once.

    Parameters
    ----------
    caption:
        A sentence, a prompt, or a list of things; any text gives an answer, an empty list where
        nothing is named.
    ignored:
        Head nouns, singular; phrases with such a head are left out.
    """
    words = classify(caption_to_words(caption))
    chunks = chunk(words)
    absent = denied(words, chunks)
    phrases = [
        _finish(one, words)
        for number, one in enumerate(chunks)
        if number not in absent and not _is_name_only(one, words)
    ]
    named = [phrase for phrase in phrases if phrase and head_noun(phrase) not in ignored]
    return list(dict.fromkeys(named))


def head_noun(phrase: str) -> str:
    """The last word before a preposition: "cup" of "white cup of coffee"."""
    words = phrase.split()
    for position, word in enumerate(words):
        if position and word in lexicon.PREPOSITIONS:
            return words[position - 1]
    return words[-1] if words else ""


def phrase_to_noun(phrase: str) -> str:
    """A phrase that somebody else found, as `caption_to_phrases` writes them.

    Lower case, without articles and numbers before it, the head in the singular: "Two red mugs"
    -> "red mug". Nothing else is left out.
    """
    words = text_to_plain(phrase).lower().split()
    while len(words) > 1 and (words[0] in _OPENERS or words[0].isdigit()):
        del words[0]
    head = next((n for n, word in enumerate(words) if n and word in lexicon.PREPOSITIONS), None)
    before = words[:head]
    return " ".join([*before[:-1], singular(before[-1]), *words[len(before) :]]) if words else ""


def _finish(run: Chunk, words: list[Word]) -> str:
    """The phrase of a run, "" when it names nothing to look for."""
    run = _without_unit(_without_style(run))
    if not run.words or (run.only_adjectives and run.words[-1].text != "orange"):
        return ""
    if len(run.words) == 2 and run.words[0].text == "missing":
        return ""
    noun = _head_in_singular(run)
    if _names_no_object(run, noun):
        return ""
    return " ".join([*(_without_count(word.text) for word in run.words[:-1]), noun])


def _without_style(run: Chunk) -> Chunk:
    """ "anime style girl" -> "girl"."""
    for position, word in enumerate(run.words[:-1]):
        if position and word.text == "style":
            return replace(run, words=run.words[position + 1 :])
    return run


def _without_unit(run: Chunk) -> Chunk:
    """ "a 60 inch TV" -> "tv"."""
    numbered = run.opener.replace(".", "").isdigit() or run.opener in lexicon.NUMBERS
    if numbered and len(run.words) > 1 and run.words[0].text in lexicon.UNITS:
        return replace(run, words=run.words[1:])
    return run


def _head_in_singular(run: Chunk) -> str:
    head = run.words[-1]
    text = _without_count(head.text)
    owner = run.after in ("'s", "'")
    if (run.opener in ("a", "an") and not owner) or head.is_acronym:
        return text  # "a skis": what follows "a" is the singular
    if text == "glasses" and _counts_glasses(run):
        return "glass"
    return singular(text)


def _counts_glasses(run: Chunk) -> bool:
    """ "two glasses", "wine glasses": vessels; "a man with glasses": on a nose."""
    before = run.words[-2] if len(run.words) > 1 else None
    numbered = run.opener in lexicon.NUMBERS or run.opener.isdigit()
    return numbered or (before is not None and before.kind is Kind.NOUN)


def _without_count(text: str) -> str:
    """ "1girl" -> "girl", a tag's way to count; "3d" and "4k" stay."""
    bare = text.lstrip("0123456789")
    return bare if bare != text and len(bare) > 2 and bare.isalpha() else text


def _names_no_object(run: Chunk, noun: str) -> bool:
    modifiers = run.words[:-1]
    head = run.words[-1].text
    if _MEASURE_OF_IMAGES.fullmatch(head):
        return True
    compound = bool(modifiers) and _makes_compound(modifiers[-1], noun)
    measured = run.after == "of" and (head in lexicon.MEASURES or noun in lexicon.MEASURES)
    if measured and not (compound and noun in lexicon.COMPOUND_HEADS):
        return True
    if noun in lexicon.SURROUNDINGS or head in lexicon.SURROUNDINGS:
        return True
    if noun not in lexicon.ABSTRACT and head not in lexicon.ABSTRACT:
        return noun.endswith("ness") and noun not in lexicon.CONCRETE_IN_NESS
    return not (compound and noun in lexicon.COMPOUND_HEADS and _is_thing(run, noun))


def _makes_compound(modifier: Word, noun: str) -> bool:
    """ "chess set", "hiding place"; a "flashing light" is no lamp's name."""
    doing = modifier.text.endswith("ing") and noun != "light"
    return modifier.kind is Kind.NOUN or doing


def _is_thing(run: Chunk, noun: str) -> bool:
    """Whether a compound such as "street light" is a thing, not an event or a way of lighting."""
    before = run.words[-2].text
    if noun in ("game", "match"):
        return before not in lexicon.SPORTS
    if noun == "light":
        return before not in lexicon.LIGHTS_OF_NO_LAMP or run.opener in (
            lexicon.SINGULAR_DETERMINERS | lexicon.NUMBERS
        )
    if noun == "lens":
        return not before[:1].isdigit()
    return before not in lexicon.ABSTRACT or noun != "set"


def _is_name_only(run: Chunk, words: list[Word]) -> bool:
    """Whether a run is somebody's name, a style's, a town's, or the camera."""
    before = [word.text for word in words[max(0, run.start - 3) : run.start]]
    last = before[-1] if before else ""
    if last in lexicon.NAMING:
        return True
    if tuple(_before_openers(run, words)) in lexicon.CREDITS:
        return True
    if "of" in before[-2:] and _follows_style(run, words):
        return True
    names = all(word.capitalised for word in run.words)
    if last in ("in", "at", "from") and names and not run.opener and not _has_plural_head(run):
        return True
    if last == "by" and not run.opener and (names or _follows_list_mark(run, words)):
        return not _has_plural_head(run)
    aimed = not lexicon.AIMING.isdisjoint(before[-2:])
    return aimed and run.words[-1].text in lexicon.CAMERA and len(run.words) == 1


def _before_openers(run: Chunk, words: list[Word]) -> list[str]:
    """The two words before a run, articles left out."""
    position = run.start
    while position and words[position - 1].kind is Kind.OPENER:
        position -= 1
    return [word.text for word in words[max(0, position - 2) : position]]


def _has_plural_head(run: Chunk) -> bool:
    return looks_plural(run.words[-1].text)


def _follows_style(run: Chunk, words: list[Word]) -> bool:
    position = run.start - 1
    while position >= 0 and (words[position].kind is Kind.OPENER or words[position].text == "of"):
        position -= 1
    return position >= 0 and words[position].text in ("style", "manner", "spirit", "vein")


def _follows_list_mark(run: Chunk, words: list[Word]) -> bool:
    """ ", by greg rutkowski"."""
    position = run.start - 2
    return position < 0 or words[position].kind is Kind.MARK or words[position].text == "art"

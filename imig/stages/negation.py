"""What a caption says is not there: "no cat", "without chairs", "neither cars nor buses"."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from imig.stages import lexicon
from imig.stages.chunks import Chunk, is_denial_in_name
from imig.stages.word_classes import Kind, Word

_BETWEEN_NO_AND_NOUN = frozenset({Kind.OPENER, Kind.ADVERB})
_BETWEEN_NOT_AND_NOUN = _BETWEEN_NO_AND_NOUN | {
    Kind.ING,
    Kind.PAST,
    Kind.VERB_S,
    Kind.VERB_BASE,
    Kind.FUNCTION,
}


@dataclass(frozen=True)
class _Cue:
    """Words that deny what follows, the position behind them, and what may stand in between."""

    end: int
    between: frozenset[Kind]


def denied(words: list[Word], chunks: list[Chunk]) -> set[int]:
    """Positions in `chunks` of the phrases that name what is not to be seen.

    A denial reaches over "of", "or" and "nor" ("no cars, buses or people"), and over "and" between
    bare nouns ("without tables and chairs"); it ends at a mark, "but", or another article.
    """
    found: set[int] = set()
    for position in range(len(words)):
        cue = _cue_at(words, position)
        if cue is not None:
            first = _first_denied(words, chunks, cue)
            if first is not None and first not in found:
                found.update(_reach(words, chunks, first))
    found.update(_said_missing(words, chunks))
    return found


def _cue_at(words: list[Word], position: int) -> _Cue | None:
    text = words[position].text
    following = [word.text for word in words[position + 1 : position + 3]]
    following += ["", ""]
    if is_denial_in_name(words, position):
        return None
    if text in ("no", "zero", "0", "neither", "nor"):
        return _Cue(position + 1, _BETWEEN_NO_AND_NOUN)
    if text in ("without", "sans", "minus", "lacking", "lacks", "lack", "excluding"):
        skipped = position + (2 if following[0] == "of" else 1)
        return _Cue(skipped, _BETWEEN_NOT_AND_NOUN - {Kind.FUNCTION})
    if (
        text in ("missing", "absent")
        and words[min(position + 1, len(words) - 1)].kind is Kind.OPENER
    ):
        return _Cue(position + 1, _BETWEEN_NO_AND_NOUN)
    if (text, following[0]) in lexicon.DENYING_PAIRS:
        return _Cue(position + 2, _BETWEEN_NOT_AND_NOUN - {Kind.FUNCTION})
    if (text, *following[:2]) in lexicon.DENYING_TRIPLES:
        return _Cue(position + 3, _BETWEEN_NOT_AND_NOUN - {Kind.FUNCTION})
    if text in ("not", "never", "cannot") or text.endswith("n't"):
        if following[0] in ("only", "just", "merely"):
            return None
        return _Cue(position + 1, _BETWEEN_NOT_AND_NOUN)
    return None


def _first_denied(words: list[Word], chunks: list[Chunk], cue: _Cue) -> int | None:
    number = bisect_left(chunks, cue.end, key=lambda chunk: chunk.start)
    if number == len(chunks):
        return None
    skipped = words[cue.end : chunks[number].start]
    crossed = any(word.text in lexicon.CLAUSE_WORDS for word in skipped)
    allowed = all(word.kind in cue.between for word in skipped) and not crossed
    return number if allowed else None


def _reach(words: list[Word], chunks: list[Chunk], first: int) -> list[int]:
    """The denied phrase and those that are denied with it."""
    reached = [first]
    waiting: list[int] = []  # after commas: denied if an "or" follows
    for number in range(first + 1, len(chunks)):
        before, chunk = chunks[number - 1], chunks[number]
        between = words[before.end : chunk.start]
        linkers = {word.text for word in between if word.kind is not Kind.OPENER}
        if linkers and linkers <= {"or", "nor", ","} and linkers != {","}:
            reached += [*waiting, number]
            waiting = []
        elif linkers == {","}:
            waiting.append(number)
        elif not waiting and _goes_on(linkers, before, chunk):
            reached.append(number)
        else:
            break
    return reached


def _goes_on(linkers: set[str], before: Chunk, chunk: Chunk) -> bool:
    if linkers == {"and"}:
        return not chunk.opener and before.opener in ("", "no", "any")
    return linkers in ({"of"}, {"'s"})


def _said_missing(words: list[Word], chunks: list[Chunk]) -> list[int]:
    """ "the wheels are not visible", "the lid is missing"."""
    found: list[int] = []
    for number, chunk in enumerate(chunks):
        texts = [word.text for word in words[chunk.end : chunk.end + 3]] + ["", "", ""]
        be, *others = texts
        if be in lexicon.BE and others[0] == "not":
            unseen = others[1] in lexicon.SEEN
        elif be.endswith("n't") and be[:-3] in lexicon.BE:
            unseen = others[0] in lexicon.SEEN
        else:
            unseen = be in lexicon.BE and others[0] in ("missing", "absent")
        if unseen:
            found.append(number)
    return found

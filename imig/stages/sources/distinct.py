"""Phrases that single out one instance each, where several are of the same category."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from imig.schema import Box
from imig.text import text_to_match_form

_ORDINALS: Final = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
)  # fmt: skip
_FEW: Final = {2: ("{0}", "{2}"), 3: ("{0}", "{1}", "{2}")}
_ACROSS: Final = ("left", "middle", "right")
_DOWN: Final = ("upper", "middle", "lower")


def distinct_phrases(phrases: Sequence[str], boxes: Sequence[Box]) -> list[str]:
    """Those that read alike get a place: ``left dog``, ``second dog from the left``.

    The place is that of the boxes' centres, across the picture where these lie farther apart across
    than down. Phrases that are alone stay as they are.
    """
    alike: dict[str, list[int]] = {}
    for number, phrase in enumerate(phrases):
        alike.setdefault(text_to_match_form(phrase), []).append(number)
    distinct = list(phrases)
    for numbers in alike.values():
        if len(numbers) < 2:
            continue
        centres = {n: (boxes[n][0] + boxes[n][2], boxes[n][1] + boxes[n][3]) for n in numbers}
        spread = [max(v) - min(v) for v in zip(*centres.values(), strict=True)]
        axis = 0 if spread[0] >= spread[1] else 1
        ranked = sorted(numbers, key=lambda n: (centres[n][axis], centres[n][1 - axis], n))
        for place, number in enumerate(ranked):
            distinct[number] = _name(phrases[number], place, count=len(ranked), axis=axis)
    return distinct


def _name(phrase: str, place: int, *, count: int, axis: int) -> str:
    if count in _FEW:
        return f"{_FEW[count][place].format(*(_DOWN if axis else _ACROSS))} {phrase}"
    ordinal = _ORDINALS[place] if place < len(_ORDINALS) else _numeral(place + 1)
    return f"{ordinal} {phrase} from the {'top' if axis else 'left'}"


def _numeral(number: int) -> str:
    """``21st``, ``112th``."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"

"""Area and bounds of COCO masks from their run lengths, without arrays of their pixels.

The format (pycocotools' maskApi.c, `rleToString`): 6 bits a character from code 48 on, five of
value and one that says "more follows"; from the fourth run on, a run is stored as the difference to
the one two before. The masks of a scene are worked on together: each is short, and what takes the
time is the number of calls to numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imig.schema import Box, MaskRLE

Integers = NDArray[np.int64]

MAX_CHARACTERS = 8
"""Of one run in a COCO string: 40 bits, where the largest mask has 26. Longer ones are spelt to
mean different things to different readers: C shifts modulo 64."""

_FIRST = 48  # the character that stands for 0
_MORE, _SIGN, _VALUE, _BITS = 0x20, 0x10, 0x1F, 5


class MaskExtent(NamedTuple):
    """What a mask covers."""

    area: int
    """Pixels."""
    bounds: Box | None
    """Tightest box, None for an empty mask."""


def mask_extents(masks: Sequence[MaskRLE]) -> list[MaskExtent | None]:
    """Area and bounds of each; None where the run lengths do not fill exactly the mask's size."""
    if not masks:
        return []
    heights = np.array([one.size[0] for one in masks], dtype=np.int64)
    widths = np.array([one.size[1] for one in masks], dtype=np.int64)
    parsed = _parse([one.counts for one in masks])
    if parsed is not None and min(heights.min(), widths.min()) > 0:
        runs, first = parsed
        if np.array_equal(np.add.reduceat(runs, first), heights * widths):
            return _extents(runs, first, heights)
    if len(masks) == 1:
        return [None]
    # Something is wrong with one of them, at least.
    return [mask_extents([one])[0] for one in masks]


def _parse(counts: Sequence[str]) -> tuple[Integers, Integers] | None:
    """All run lengths, those of a mask together, and the place of each mask's first.

    None where one of the strings is malformed or empty.
    """
    try:
        text = "".join(counts).encode("ascii")
    except UnicodeEncodeError:
        return None
    codes = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - _FIRST
    stops = np.cumsum([len(one) for one in counts])
    if not all(counts) or codes.min() < 0 or codes.max() >= 2 * _MORE:
        return None
    last = np.flatnonzero((codes & _MORE) == 0)  # character of each run
    run_stops = np.searchsorted(last, stops - 1, side="right")
    if np.any(codes[stops - 1] & _MORE):
        return None
    begin = np.concatenate([[0], last[:-1] + 1])
    characters = last - begin + 1
    if characters.max() > MAX_CHARACTERS:
        return None
    shifts = _BITS * (np.arange(len(codes)) - np.repeat(begin, characters))
    values = np.add.reduceat((codes & _VALUE) << shifts, begin)
    values -= ((codes[last] & _SIGN) >> 4) << (_BITS * characters)
    first = np.concatenate([[0], run_stops[:-1]])
    runs = _undo_differences(values, first)
    return None if runs.min() < 0 else (runs, first)


def _undo_differences(values: Integers, first: Integers) -> Integers:
    """From a mask's fourth run on, a run is stored as the difference to the one two before."""
    owner = np.repeat(np.arange(len(first)), np.diff(first, append=len(values)))
    odd = (np.arange(len(values)) - first[owner]) % 2 == 1
    differences = values.copy()
    differences[first] = 0  # what comes two later is stored as it is
    sums = np.stack([np.cumsum(np.where(one, differences, 0)) for one in (~odd, odd)])
    before = sums[:, first]  # the first run adds nothing to either
    runs: Integers = np.where(odd, sums[1] - before[1, owner], sums[0] - before[0, owner])
    runs[first] = values[first]
    return runs


def _extents(runs: Integers, first: Integers, heights: Integers) -> list[MaskExtent | None]:
    """Of masks whose runs fill their sizes."""
    owner = np.repeat(np.arange(len(first)), np.diff(first, append=len(runs)))
    ends = np.cumsum(runs)
    ends -= (ends[first] - runs[first])[owner]
    # The first run is of unset pixels, and the two kinds take turns.
    is_set = ((np.arange(len(runs)) - first[owner]) % 2 == 1) & (runs > 0)
    runs, ends, owner = runs[is_set], ends[is_set], owner[is_set]
    extents: list[MaskExtent | None] = [MaskExtent(0, None)] * len(first)
    if not len(runs):
        return extents
    # Column after column: a run that goes on in the next column has been at the last row, and is
    # at the first.
    left, top = np.divmod(ends - runs, heights[owner])
    right, bottom = np.divmod(ends - 1, heights[owner])
    turns = left != right
    top[turns], bottom[turns] = 0, heights[owner[turns]] - 1
    owners, start = np.unique(owner, return_index=True)
    bounds = np.stack(
        [
            np.minimum.reduceat(left, start),
            np.minimum.reduceat(top, start),
            np.maximum.reduceat(right, start) + 1,
            np.maximum.reduceat(bottom, start) + 1,
        ],
        axis=1,
    )
    areas = np.add.reduceat(runs, start).tolist()
    for number, area, box in zip(owners.tolist(), areas, bounds.tolist(), strict=True):
        extents[number] = MaskExtent(area, (box[0], box[1], box[2], box[3]))
    return extents

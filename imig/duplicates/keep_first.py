"""Which scenes stay: in their order, a scene goes when an earlier one that stays is near.

The result depends on nothing but the order and on which pairs are near, and asking again among
those that stayed removes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_PAIRS = 1 << 23
"""Near pairs that are held in memory at once (about 200 MB)."""

Positions = NDArray[np.int64]


class Pairs(NamedTuple):
    """Near pairs, by position."""

    first: Positions
    second: Positions
    """Each one larger than its partner in `first`."""
    cost: NDArray[np.float64]
    """Smaller is nearer."""


NearPairs = Callable[[Positions], Iterator[Pairs]]
"""All near pairs among some positions (sorted), in blocks; a pair may come more than once."""


class Kept(NamedTuple):
    """What became of each position."""

    of: Positions
    """The nearest earlier position that stays, of positions that go; -1 for those that stay."""
    cost: NDArray[np.float64]
    """Of that pair; inf for those that stay."""


def keep_first(count: int, near_pairs: NearPairs, *, max_pairs: int = MAX_PAIRS) -> Kept:
    """Decide positions 0 to `count` - 1.

    Where there are more pairs than may be held, positions without an earlier neighbour are decided
    first, and with them all their neighbours; that goes on until the pairs of the rest fit.
    """
    kept = np.ones(count, dtype=bool)
    nearest = _Nearest(count)
    undecided = np.arange(count)
    whole = True  # no round of roots was needed: the pairs are all pairs
    while undecided.size:
        pairs = _collect(near_pairs(undecided), most=max_pairs)
        if pairs is not None:
            _decide(pairs, kept)
            if whole:
                nearest.add(pairs, kept)
            break
        whole = False
        undecided = _decide_around_roots(undecided, near_pairs, kept)
    if not whole:
        for block in near_pairs(np.arange(count)):
            nearest.add(block, kept)
    return Kept(of=np.where(kept, -1, nearest.of), cost=np.where(kept, np.inf, nearest.cost))


def _collect(blocks: Iterator[Pairs], *, most: int) -> Pairs | None:
    """All pairs; None when they are more than `most`."""
    held: list[Pairs] = []
    total = 0
    for block in blocks:
        total += len(block.first)
        if total > most:
            return None
        held.append(block)
    if not held:
        nothing = np.zeros(0, dtype=np.int64)
        return Pairs(nothing, nothing, np.zeros(0))
    return Pairs(*(np.concatenate(column) for column in zip(*held, strict=True)))


def _decide(pairs: Pairs, kept: NDArray[np.bool_]) -> None:
    """In the order of positions; `kept` is changed in place."""
    order = np.argsort(pairs.second, kind="stable")
    earlier = pairs.first[order]
    later, starts = np.unique(pairs.second[order], return_index=True)
    edges = np.append(starts, len(order)).tolist()
    for position, (start, end) in zip(later.tolist(), pairwise(edges), strict=True):
        if kept[earlier[start:end]].any():
            kept[position] = False


def _decide_around_roots(
    undecided: Positions, near_pairs: NearPairs, kept: NDArray[np.bool_]
) -> Positions:
    """Those without an earlier neighbour stay, their neighbours go; returns who is left.

    Every round decides at least the first one.
    """
    is_root = np.zeros(len(kept), dtype=bool)
    is_root[undecided] = True
    for block in near_pairs(undecided):
        is_root[block.second] = False
    for block in near_pairs(undecided):
        kept[block.second[is_root[block.first]]] = False
    return undecided[kept[undecided] & ~is_root[undecided]]


class _Nearest:
    """The nearest earlier neighbour that stays; of equally near ones the first."""

    def __init__(self, count: int) -> None:
        self.of = np.full(count, -1, dtype=np.int64)
        self.cost = np.full(count, np.inf)

    def add(self, pairs: Pairs, kept: NDArray[np.bool_]) -> None:
        counts = kept[pairs.first] & ~kept[pairs.second]
        first, second, cost = (column[counts] for column in pairs)
        order = np.lexsort((first, cost, second))
        later, leading = np.unique(second[order], return_index=True)
        first, cost = first[order][leading], cost[order][leading]
        better = (cost < self.cost[later]) | ((cost == self.cost[later]) & (first < self.of[later]))
        self.of[later[better]] = first[better]
        self.cost[later[better]] = cost[better]

"""Near pairs of 64-bit hashes by the number of differing bits: exact, for millions.

Pigeonhole: the bits are dealt into m parts; two hashes that differ in at most d bits agree in at
least k = m - d parts. For each choice of k parts the hashes are sorted by these parts' bits, and
only those that agree in them are compared. More parts make for more sorting and less comparing;
`choose_parts` takes the k that costs least.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imig.duplicates.keep_first import Pairs, Positions
from imig.duplicates.perceptual_hash import BITS

Hashes = NDArray[np.uint64]

_SORT = 6e-9
"""Seconds to sort one of n hashes, a doubling of n (measured on one core of 2023)."""
_COMPARE = 12e-9
"""Seconds to compare a pair."""
_MAX_CHOICES = 1000
_BLOCK = 1 << 20


class Parts(NamedTuple):
    """How bits are dealt."""

    masks: tuple[int, ...]
    """The bits of each part."""
    agreeing: int
    """In how many parts near hashes agree at least (k); 0: all are compared with all."""


def choose_parts(count: int, distance: int) -> Parts:
    """The cheapest way to compare that many evenly spread hashes."""
    pairs = count * (count - 1) / 2
    costs = {0: pairs * _COMPARE}
    for agreeing in range(1, BITS - distance + 1):
        parts = distance + agreeing
        choices = math.comb(parts, agreeing)
        if choices > _MAX_CHOICES:
            break
        bits = agreeing * (BITS // parts)
        doublings = math.log2(max(count, 2))
        costs[agreeing] = choices * (count * doublings * _SORT + pairs / 2**bits * _COMPARE)
    agreeing = min(costs, key=lambda one: costs[one])
    parts = distance + agreeing
    # Dealt like cards: neighbouring coefficients of a picture say similar things.
    masks = tuple(sum(1 << bit for bit in range(part, BITS, parts)) for part in range(parts))
    return Parts(masks=masks, agreeing=agreeing)


def near_hashes(hashes: Hashes, distance: int) -> Iterator[Pairs]:
    """Every pair of positions whose hashes differ in at most `distance` bits, once, in blocks."""
    values, members, starts = _group(hashes)
    yield from _pairs_within_groups(members, starts)
    for block in near_values(values, distance):
        yield from _pairs_across_groups(block, members, starts)


def near_values(values: Hashes, distance: int) -> Iterator[Pairs]:
    """`near_hashes` of hashes of which no two are equal."""
    parts = choose_parts(len(values), distance)
    for chosen in combinations(range(len(parts.masks)), parts.agreeing):
        mask = np.uint64(sum(parts.masks[part] for part in chosen))
        # A pair that agrees in more parts is met under several choices; the first one reports it.
        earlier = [
            np.uint64(parts.masks[part]) for part in range(max(chosen, default=0))
            if part not in chosen
        ]  # fmt: skip
        for first, second in _agreeing_pairs(values & mask):
            difference = values[first] ^ values[second]
            bits = np.bitwise_count(difference)
            is_new = bits <= distance
            for other in earlier:
                is_new &= (difference & other) != 0
            if is_new.any():
                yield _in_order(first[is_new], second[is_new], bits[is_new].astype(np.float64))


def _agreeing_pairs(keys: Hashes) -> Iterator[tuple[Positions, Positions]]:
    """All pairs with equal keys: each with its next one in the sorted order, then the one after
    that, and so on, as long as there are any."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    ends = np.searchsorted(ordered, ordered, side="right") if len(keys) else np.zeros(0, np.int64)
    active = np.arange(len(keys))
    step = 0
    while active.size:
        step += 1
        active = active[active + step < ends[active]]
        for start in range(0, len(active), _BLOCK):
            block = active[start : start + _BLOCK]
            yield order[block], order[block + step]


def _in_order(a: Positions, b: Positions, cost: NDArray[np.float64]) -> Pairs:
    return Pairs(np.minimum(a, b), np.maximum(a, b), cost)


def _group(hashes: Hashes) -> tuple[Hashes, Positions, Positions]:
    """Different values; positions ordered by their value; where each value's begin, and the end."""
    members = np.argsort(hashes, kind="stable")
    values, starts = np.unique(hashes[members], return_index=True)
    return values, members, np.append(starts, len(hashes)).astype(np.int64)


def _pairs_within_groups(members: Positions, starts: Positions) -> Iterator[Pairs]:
    for value in np.flatnonzero(np.diff(starts) > 1):
        group = members[starts[value] : starts[value + 1]]
        for number in range(1, len(group)):
            earlier = group[:number]
            yield Pairs(earlier, np.full(number, group[number]), np.zeros(number))


def _pairs_across_groups(block: Pairs, members: Positions, starts: Positions) -> Iterator[Pairs]:
    sizes = np.diff(starts)
    single = (sizes[block.first] == 1) & (sizes[block.second] == 1)
    first, second = (members[starts[column[single]]] for column in block[:2])
    yield _in_order(first, second, block.cost[single])
    for a, b, cost in zip(*(column[~single] for column in block), strict=True):
        right = members[starts[b] : starts[b + 1]]
        for one in members[starts[a] : starts[a + 1]]:
            yield _in_order(np.full(len(right), one), right, np.full(len(right), cost))

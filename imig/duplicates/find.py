"""Duplicates among scenes: by hash, by feature, or by either."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from imig.duplicates.config import DuplicatesConfig
from imig.duplicates.cosine import EXACT_LIMIT, near_features
from imig.duplicates.hamming import near_hashes, near_values
from imig.duplicates.keep_first import Kept, Pairs, Positions, keep_first
from imig.duplicates.signatures import Signed
from imig.schema import Reject

STAGE = "duplicates"
"""What rejects name as their stage."""
REASON = "duplicate scene"
_FEATURES = 1000.0
"""Added to the cost of a pair that was found by features: one that also the hash finds is near
by its hash."""


@dataclass(frozen=True)
class Duplicate:
    """A scene of which an earlier one that stays is a near copy."""

    id: str
    of: str
    figure: str
    """`hash_distance` or `similarity`."""
    value: float

    def to_reject(self) -> Reject:
        value = int(self.value) if self.figure == "hash_distance" else self.value
        return Reject(
            id=self.id, stage=STAGE, reason=REASON, figures={"of": self.of, self.figure: value}
        )


def find_duplicates(signed: Signed, config: DuplicatesConfig) -> list[Duplicate]:
    """The scenes that go, in the order of their ids.

    In that order a scene goes when an earlier scene that stays is near: by at most
    `config.hash_distance` differing bits, or by a cosine of at least `config.similarity`. Done
    again with those that stay, it finds nothing.
    """
    duplicates: list[Duplicate] = []
    alive = np.arange(len(signed))
    while alive.size:
        kept = _keep(signed, alive, config)
        gone = np.flatnonzero(kept.of >= 0)
        for position in gone.tolist():
            pair = (signed.ids[alive[position]], signed.ids[alive[kept.of[position]]])
            duplicates.append(_to_duplicate(*pair, cost=float(kept.cost[position])))
        if not gone.size or not _in_cells(signed, alive, config):
            break
        # What cells missed, other cells may find: until they find nothing.
        alive = alive[kept.of < 0]
    return sorted(duplicates, key=lambda one: one.id)


def near_pairs(signed: Signed, positions: Positions, config: DuplicatesConfig) -> Iterator[Pairs]:
    """All near pairs among some positions (sorted); one that is near by both comes twice."""
    if config.hash_distance is not None:
        hashed = positions[signed.hashed[positions]]
        for pairs in near_hashes(signed.hashes[hashed], config.hash_distance):
            yield Pairs(hashed[pairs.first], hashed[pairs.second], pairs.cost)
    if config.similarity is not None and len(signed.features):
        featured = positions[signed.rows[positions] >= 0]
        rows = signed.rows[featured]
        # The stored ones where that is their order already: they may be many.
        in_order = np.array_equal(rows, np.arange(len(signed.features)))
        features = signed.features if in_order else signed.features[rows]
        for pairs in near_features(features, np.arange(len(featured)), config.similarity):
            first, second = featured[pairs.first], featured[pairs.second]
            yield Pairs(first, second, pairs.cost + _FEATURES)


def _keep(signed: Signed, alive: Positions, config: DuplicatesConfig) -> Kept:
    by_features = config.similarity is not None and len(signed.features) > 0
    if by_features or config.hash_distance is None:
        return _keep_with_features(signed, alive, config)
    return _keep_by_hash(signed, alive, config.hash_distance)


def _keep_with_features(signed: Signed, alive: Positions, config: DuplicatesConfig) -> Kept:
    place = np.full(len(signed), -1, dtype=np.int64)
    place[alive] = np.arange(len(alive))

    def near(positions: Positions) -> Iterator[Pairs]:
        for pairs in near_pairs(signed, alive[positions], config):
            yield Pairs(place[pairs.first], place[pairs.second], pairs.cost)

    return keep_first(len(alive), near)


def _keep_by_hash(signed: Signed, alive: Positions, distance: int) -> Kept:
    """Equal hashes have equal neighbours: each value is looked at once."""
    of = np.full(len(alive), -1, dtype=np.int64)
    cost = np.full(len(alive), np.inf)
    hashed = np.flatnonzero(signed.hashed[alive])
    values, first, inverse = np.unique(
        signed.hashes[alive[hashed]], return_index=True, return_inverse=True
    )
    order = np.argsort(first)  # values in the order of their first scenes
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))

    def near(positions: Positions) -> Iterator[Pairs]:
        for pairs in near_values(values[order[positions]], distance):
            yield Pairs(positions[pairs.first], positions[pairs.second], pairs.cost)

    kept = keep_first(len(values), near)
    first = hashed[first[order]]
    value = rank[inverse]
    stays = kept.of[value] < 0
    of[hashed] = np.where(stays, first[value], first[kept.of[value]])
    cost[hashed] = np.where(stays, 0.0, kept.cost[value])
    of[first[kept.of < 0]] = -1
    return Kept(of, np.where(of < 0, np.inf, cost))


def _in_cells(signed: Signed, alive: Positions, config: DuplicatesConfig) -> bool:
    """Whether features were too many to compare all."""
    if config.similarity is None:
        return False
    return int(np.count_nonzero(signed.rows[alive] >= 0)) > EXACT_LIMIT


def _to_duplicate(scene_id: str, of: str, *, cost: float) -> Duplicate:
    if cost < _FEATURES:
        return Duplicate(scene_id, of, "hash_distance", cost)
    return Duplicate(scene_id, of, "similarity", round(1 - (cost - _FEATURES), 6))

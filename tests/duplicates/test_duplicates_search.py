"""Near pairs and who stays, against the plain definitions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from unittest.mock import patch

import numpy as np
import pytest

import imig.duplicates.cosine as cosine
from imig.duplicates.config import DuplicatesConfig
from imig.duplicates.find import Duplicate, find_duplicates
from imig.duplicates.hamming import choose_parts, near_hashes
from imig.duplicates.keep_first import Pairs, Positions, keep_first
from imig.duplicates.signatures import Signatures, Signed
from imig.errors import DataError


def some_hashes(count: int, *, seed: int) -> np.ndarray:
    """A third of them copies of others with up to six bits changed, some unchanged."""
    generator = np.random.default_rng(seed)
    hashes = generator.integers(0, 2**64, count, dtype=np.uint64, endpoint=False)
    for position in range(0, count, 3):
        value = int(hashes[generator.integers(count)])
        for bit in generator.integers(0, 64, generator.integers(0, 7)):
            value ^= 1 << int(bit)
        hashes[position] = value
    return hashes


def some_features(count: int, *, width: int = 32, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count, width))
    for position in range(0, count, 3):
        noise = generator.normal(size=width) * generator.uniform(0, 0.5)
        features[position] = features[generator.integers(count)] + noise
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features.astype(np.float16)


def sign(hashes: np.ndarray | None, features: np.ndarray | None) -> Signed:
    signatures = Signatures()
    count = len(hashes if hashes is not None else features if features is not None else ())
    for number in range(count):
        signatures.add(
            f"basic-{number:08d}",
            hash_=None if hashes is None else f"{int(hashes[number]):016x}",
            features=None if features is None else features[number],
        )
    return signatures.sorted_by_id()


def plain_rule(near: np.ndarray) -> list[int]:
    """Who stays, from the matrix of near pairs."""
    kept: list[int] = []
    for position in range(len(near)):
        if not near[position, kept].any():
            kept.append(position)
    return kept


def hamming_matrix(hashes: np.ndarray) -> np.ndarray:
    return np.asarray(np.bitwise_count(hashes[:, None] ^ hashes[None, :]))


def cosine_matrix(features: np.ndarray) -> np.ndarray:
    exact = features.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    return np.round(exact @ exact.T, 6)


@pytest.mark.parametrize("distance", [0, 1, 4, 8, 16, 32])
def test_all_near_hashes_are_found_once(distance: int) -> None:
    hashes = some_hashes(400, seed=distance)
    found = [
        (int(a), int(b), int(cost))
        for block in near_hashes(hashes, distance)
        for a, b, cost in zip(*block, strict=True)
    ]
    matrix = hamming_matrix(hashes)
    expected = [
        (a, b, int(matrix[a, b]))
        for a, b in combinations(range(len(hashes)), 2)
        if matrix[a, b] <= distance
    ]
    assert sorted(found) == expected


@pytest.mark.parametrize("agreeing", [0, 1, 2, 3])
def test_every_way_to_deal_the_bits_finds_the_same(agreeing: int) -> None:
    hashes = np.unique(some_hashes(600, seed=9))
    assert choose_parts(10**6, 4).agreeing > 0
    with patch("imig.duplicates.hamming._COMPARE", {0: 0, 1: 1e-9, 2: 3e-8, 3: 1e-6}[agreeing]):
        found = {
            (int(a), int(b))
            for block in near_hashes(hashes, 4)
            for a, b in zip(block.first, block.second, strict=True)
        }
    rows, columns = np.nonzero(np.triu(hamming_matrix(hashes) <= 4, k=1))
    assert found == set(zip(rows.tolist(), columns.tolist(), strict=True))


@pytest.mark.parametrize("max_pairs", [10**6, 20, 0])
def test_the_rule_whatever_fits_into_memory(max_pairs: int) -> None:
    generator = np.random.default_rng(1)
    cost = np.triu(generator.random((120, 120)), k=1)
    near = (cost > 0) & (cost < 0.05)

    def near_pairs(positions: Positions) -> Iterator[Pairs]:
        for row in positions:
            columns = positions[near[row, positions]]
            yield Pairs(np.full(len(columns), row), columns, cost[row, columns])

    kept = keep_first(len(near), near_pairs, max_pairs=max_pairs)
    stays = plain_rule(near | near.T)
    assert np.flatnonzero(kept.of < 0).tolist() == stays
    for position in np.flatnonzero(kept.of >= 0):
        candidates = [(cost[one, position], one) for one in stays if near[one, position]]
        assert (kept.cost[position], kept.of[position]) == min(candidates)


def test_a_long_chain_keeps_every_second() -> None:
    def neighbours(positions: Positions) -> Iterator[Pairs]:
        next_to = np.flatnonzero(np.diff(positions) == 1)
        yield Pairs(positions[next_to], positions[next_to + 1], np.ones(len(next_to)))

    for max_pairs in (100, 0):
        kept = keep_first(9, neighbours, max_pairs=max_pairs)
        assert np.flatnonzero(kept.of < 0).tolist() == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("distance", [0, 2, 6])
def test_duplicates_by_hash(distance: int) -> None:
    hashes = some_hashes(300, seed=3)
    signed = sign(hashes, None)
    config = DuplicatesConfig(hash_distance=distance)
    found = find_duplicates(signed, config)
    stays = plain_rule(hamming_matrix(hashes) <= distance)
    gone = {one.id for one in found}
    assert [one for one in signed.ids if one not in gone] == [signed.ids[one] for one in stays]
    for one in found:
        a, b = (hashes[signed.ids.index(name)] for name in (one.id, one.of))
        assert one.of not in gone
        assert one.of < one.id
        assert int(np.bitwise_count(a ^ b)) == one.value <= distance


@pytest.mark.parametrize("limit", [10**6, 50])
def test_duplicates_by_feature_and_again_none(limit: int) -> None:
    features = some_features(500)
    with patch.object(cosine, "EXACT_LIMIT", limit), patch.object(cosine, "CELL_SIZE", 60):
        config = DuplicatesConfig(hash_distance=None, similarity=0.9)
        with patch("imig.duplicates.find.EXACT_LIMIT", limit):
            found = find_duplicates(sign(None, features), config)
            gone = [int(one.id[-8:]) for one in found]
            rest = np.delete(features, gone, axis=0)
            assert find_duplicates(sign(None, rest), config) == []
    near = cosine_matrix(features) >= 0.9
    expected = len(features) - len(plain_rule(near))
    if limit > len(features):
        assert len(gone) == expected > 50
    else:
        assert 0.95 * expected <= len(gone) <= expected


def test_by_either() -> None:
    hashes, features = some_hashes(200, seed=5), some_features(200, seed=6)
    found = find_duplicates(sign(hashes, features), DuplicatesConfig(similarity=0.95))
    near = (hamming_matrix(hashes) <= 4) | (cosine_matrix(features) >= 0.95)
    assert len(found) == 200 - len(plain_rule(near))
    assert {one.figure for one in found} == {"hash_distance", "similarity"}


def test_a_thousand_equal_scenes_leave_one() -> None:
    hashes = np.zeros(1000, dtype=np.uint64)
    found = find_duplicates(sign(hashes, None), DuplicatesConfig())
    assert len(found) == 999
    assert found[-1] == Duplicate("basic-00000999", "basic-00000000", "hash_distance", 0.0)
    assert found[0].to_reject().figures == {"of": "basic-00000000", "hash_distance": 0}


def test_order_is_that_of_ids_not_of_arrival() -> None:
    signatures = Signatures()
    for name in ("c", "a", "b"):
        signatures.add(name, hash_="0" * 16)
    signatures.add("0", hash_=None)
    found = find_duplicates(signatures.sorted_by_id(), DuplicatesConfig())
    assert [(one.id, one.of) for one in found] == [("b", "a"), ("c", "a")]


def test_nothing_to_compare() -> None:
    config = DuplicatesConfig(similarity=0.9)
    assert find_duplicates(sign(None, None), config) == []
    signatures = Signatures()
    signatures.add("a", hash_=None)
    signatures.add("b", hash_=None)
    assert find_duplicates(signatures.sorted_by_id(), config) == []


def test_features_of_different_widths_are_refused() -> None:
    signatures = Signatures()
    signatures.add("a", hash_=None, features=np.ones(4, dtype=np.float16))
    with pytest.raises(DataError, match="b has a feature of 5 values, others have 4"):
        signatures.add("b", hash_=None, features=np.ones(5, dtype=np.float16))

"""Near duplicates among a million texts: MinHash bands find candidates, exact sets decide."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imig.text import text_to_match_form

BANDS: Final = 16
_MAX_ROWS: Final = 8
_HALF: Final = np.uint64(32)
_LOW: Final = np.uint64(0xFFFFFFFF)
# Odd factors, so that the order of the words counts.
_PLACES: Final = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
_RECALL: Final = 0.995
"""Wanted chance to find a text that is just as similar as allowed."""
_RECENT: Final = 1 << 18
"""Entries in the dictionary before they move into the array, which takes 8 bytes for each."""


def word_triples(text: str) -> frozenset[int]:
    """Hashes of all three consecutive words, case, punctuation and invisible characters aside."""
    words = re.findall(r"\w+", text_to_match_form(text))
    hashes = np.array([_word_hash(word) for word in words or [""]], np.uint64)
    if len(hashes) < 3:
        hashes = np.pad(hashes, (0, 3 - len(hashes)))
    first, second, third = (hashes[i : len(hashes) - 2 + i] * _PLACES[i] for i in range(3))
    return frozenset((first + second + third).tolist())


@lru_cache(maxsize=1 << 16)
def _word_hash(word: str) -> int:
    """The same in every process, which Python's own is not."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    """Shared triples over all triples; in [0, 1]."""
    return len(a & b) / len(a | b)


class NearDuplicates:
    """Finds earlier texts that are more similar than allowed.

    A text costs 128 bytes: a million, 128 MB. Texts themselves are not kept.

    Parameters
    ----------
    max_similarity:
        Jaccard of word triples above which a text is a near duplicate; 1: none is but the same.
    read:
        The text of a number that was added before.
    """

    def __init__(self, max_similarity: float, *, read: Callable[[int], str]) -> None:
        self._max = max_similarity
        self._read = read
        rows = _rows(max_similarity)
        draw = np.random.default_rng(20251010)
        size = (BANDS, rows, 1)
        self._factors = draw.integers(1, 2**63, size, dtype=np.uint64) * 2 + 1
        self._offsets = draw.integers(0, 2**63, size, dtype=np.uint64)
        self._mix = draw.integers(1, 2**63, (BANDS, rows), dtype=np.uint64) * 2 + 1
        self._old = np.empty(0, np.uint64)
        """Sorted: 32 bits of a band's hash, 32 bits of a text's number."""
        self._recent: dict[int, list[int]] = {}
        self._recent_entries = 0
        self._last: tuple[str, frozenset[int], NDArray[np.uint64]] | None = None

    def find(self, text: str) -> tuple[int, float] | None:
        """Number and similarity of the most similar earlier text, where one is too similar."""
        triples, keys = self._hashed(text)
        alike = [
            (jaccard(triples, word_triples(self._read(n))), -n) for n in self._candidates(keys)
        ]
        similarity, negative = max(alike, default=(0.0, 0))
        too_similar = similarity > self._max or similarity == 1.0
        return (-negative, similarity) if too_similar else None

    def add(self, number: int, text: str) -> None:
        """Remember a text; numbers are below 2**32."""
        for key in self._hashed(text)[1].tolist():
            self._recent.setdefault(key, []).append(number)
        self._recent_entries += BANDS
        if self._recent_entries >= _RECENT:
            self._settle()

    def _hashed(self, text: str) -> tuple[frozenset[int], NDArray[np.uint64]]:
        """Triples and keys; kept for the text that was asked for last, which is added next."""
        if self._last is None or self._last[0] != text:
            triples = word_triples(text)
            self._last = (text, triples, self._keys(triples))
        return self._last[1:]

    def _keys(self, triples: frozenset[int]) -> NDArray[np.uint64]:
        """A 32-bit hash for each band: equal for texts whose minima in it agree."""
        hashes = np.fromiter(triples, np.uint64, len(triples))
        minima = (self._factors * hashes + self._offsets).min(axis=2) >> _HALF
        mixed = (minima * self._mix).sum(axis=1, dtype=np.uint64)
        # The band's own factors keep bands apart within the one table.
        return np.asarray((mixed * self._mix[:, 0]) >> _HALF, np.uint64)

    def _candidates(self, keys: NDArray[np.uint64]) -> set[int]:
        found = {number for key in keys.tolist() for number in self._recent.get(key, ())}
        packed = keys << _HALF
        first = np.searchsorted(self._old, packed)
        last = np.searchsorted(self._old, packed | _LOW, side="right")
        for band in np.flatnonzero(first < last):
            found.update((self._old[first[band] : last[band]] & _LOW).tolist())
        return found

    def _settle(self) -> None:
        numbers = np.array([n for own in self._recent.values() for n in own], np.uint64)
        keys = np.array([key for key, own in self._recent.items() for _ in own], np.uint64)
        fresh = np.sort(keys << _HALF | numbers)
        # Two sorted runs: the stable sort only merges them.
        self._old = np.sort(np.concatenate([self._old, fresh]), kind="stable")
        self._recent, self._recent_entries = {}, 0


def _rows(max_similarity: float) -> int:
    """The most hashes a band (fewest chance candidates) that still find what they must."""
    rows = 1
    while rows < _MAX_ROWS and 1 - (1 - max_similarity ** (rows + 1)) ** BANDS >= _RECALL:
        rows += 1
    return rows

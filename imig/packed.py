"""Lists of a dataset's rows, which may have a million entries."""

from __future__ import annotations

import pickle
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar, cast, overload

Item = TypeVar("Item")

LUMP = 1_000
"""Entries that are packed together: what is whole in memory at a time."""


class Packed(Sequence[Item], Generic[Item]):
    """A list that grows at its end, of which one lump at a time is whole in memory.

    A row of an index takes 5 KB as Python's objects, and 0.3 KB here. Meant to be gone through from
    front to back; each time its entries are made anew.
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._lumps: list[bytes] = []
        self._ends: list[int] = []
        """Of each lump, the place behind its last entry."""
        self._rest: list[Item] = []
        self.extend(items)

    def extend(self, items: Iterable[Item]) -> None:
        """More entries."""
        for item in items:
            self._rest.append(item)
            if len(self._rest) == LUMP:
                self.pack()

    def pack(self) -> None:
        """Nothing more is to come for now: the last entries are packed too, though they are few."""
        if self._rest:
            end = len(self)
            self._lumps.append(zlib.compress(pickle.dumps(self._rest), level=1))
            self._ends.append(end)
            self._rest = []

    def __iadd__(self, items: Iterable[Item]) -> Packed[Item]:
        self.extend(items)
        return self

    def __len__(self) -> int:
        return (self._ends[-1] if self._ends else 0) + len(self._rest)

    def __iter__(self) -> Iterator[Item]:
        for number in range(len(self._lumps)):
            yield from self._lump(number)
        yield from self._rest

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            return list(islice(self, start, stop, step))
        entry = range(len(self))[place]
        number = bisect_right(self._ends, entry)
        start = self._ends[number - 1] if number else 0
        lump = self._rest if number == len(self._lumps) else self._lump(number)
        return lump[entry - start]

    def _lump(self, number: int) -> list[Item]:
        return cast(list[Item], pickle.loads(zlib.decompress(self._lumps[number])))

"""Lists of a dataset's rows that may have a million entries."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Iterator, Sequence
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
        self._rest: list[Item] = []
        self.extend(items)

    def extend(self, items: Iterable[Item]) -> None:
        """More entries."""
        self._rest.extend(items)
        while len(self._rest) >= LUMP:
            lump, self._rest = self._rest[:LUMP], self._rest[LUMP:]
            self._lumps.append(zlib.compress(pickle.dumps(lump), level=1))

    def __iadd__(self, items: Iterable[Item]) -> Packed[Item]:
        self.extend(items)
        return self

    def __len__(self) -> int:
        return len(self._lumps) * LUMP + len(self._rest)

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
            return [self[one] for one in range(len(self))[place]]
        lump, entry = divmod(range(len(self))[place], LUMP)
        return self._rest[entry] if lump == len(self._lumps) else self._lump(lump)[entry]

    def _lump(self, number: int) -> list[Item]:
        return cast(list[Item], pickle.loads(zlib.decompress(self._lumps[number])))

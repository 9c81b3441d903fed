"""Fetch the shards of remote datasets into the cache before the training comes to them."""

from __future__ import annotations

import copy
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from imig.errors import DataError
from imig.shards.cache import CachedFolder

if TYPE_CHECKING:
    from imig.training.data import TrainingData

FETCHES: Final = 4
"""Shards that a process fetches at once."""
_FURTHEST: Final = 4096
"""Micro-batches that are looked ahead at most."""
_SHARE: Final = 0.5
"""Of the cache, for what is needed from here to there: the rest is what was used just now."""


@contextmanager
def shards_ahead(data: TrainingData, *, start: int) -> Iterator[Callable[[int], None]]:
    """Within, shards come ahead of micro-batch `start` and of those that the function is told of.

    What cannot be fetched is left to whoever reads it: they say what is wrong.
    """
    if not any(isinstance(one.folder, CachedFolder) for one in data.sources):
        yield lambda number: None
        return
    ahead = _Ahead(data, start)
    try:
        yield ahead.reach
    finally:
        ahead.stop()


class _Ahead:
    """A thread that plans, and some that fetch.

    They are daemons: a training that has to end does not wait for a shard that is on its way.
    """

    def __init__(self, data: TrainingData, start: int) -> None:
        # A plan of its own: going back and forth in one would begin it anew each time.
        self._data = copy.copy(data)
        self._data.order = copy.copy(data.order)
        self._reached = start
        self._changed = threading.Condition()
        self._ended = False
        self._wanted: queue.SimpleQueue[tuple[CachedFolder, str] | None] = queue.SimpleQueue()
        threading.Thread(target=self._plan, args=(start,), daemon=True).start()
        for _ in range(FETCHES):
            threading.Thread(target=self._fetch, daemon=True).start()

    def reach(self, number: int) -> None:
        """The training has come to micro-batch `number`."""
        with self._changed:
            self._reached = number
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        for _ in range(FETCHES):
            self._wanted.put(None)

    def _plan(self, start: int) -> None:
        planned: deque[tuple[int, dict[str, tuple[CachedFolder, str]]]] = deque()
        number = start
        while True:
            with self._changed:
                while planned and planned[0][0] < self._reached:
                    planned.popleft()
                if self._ended:
                    return
                near = {key: one for _, shards in planned for key, one in shards.items()}
                if len(planned) >= _FURTHEST or _is_enough(near):
                    self._changed.wait()
                    continue
            number = max(number, self._reached)
            shards = self._shards_of(number)
            for key in shards.keys() - near.keys():
                self._wanted.put(shards[key])
            planned.append((number, shards))
            number += 1

    def _shards_of(self, number: int) -> dict[str, tuple[CachedFolder, str]]:
        """By checksum, the shards that are read for a micro-batch."""
        shards: dict[str, tuple[CachedFolder, str]] = {}
        for one in self._data.plan(number):
            entry = self._data.order.entries[one.entry]
            folder = self._data.sources[entry.dataset].folder
            if isinstance(folder, CachedFolder):
                shards[folder.shards[entry.shard].sha256] = (folder, entry.shard)
        return shards

    def _fetch(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            folder, shard = wanted
            with suppress(DataError):
                if not self._ended:
                    folder.fetch_ahead(shard)


def _is_enough(shards: dict[str, tuple[CachedFolder, str]]) -> bool:
    """Whether so many shards are as much as may be fetched ahead; one always may."""
    if not shards:
        return False
    sizes = [folder.shards[name].bytes for folder, name in shards.values()]
    cache = next(iter(shards.values()))[0].cache
    return sum(sizes) > _SHARE * cache.size

"""How fast scenes come through, from when and how many did lately."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW_SECONDS = 60.0
MIN_LUMPS = 5
"""Slow stages finish a lump of scenes less than once a minute: keep so many all the same."""


@dataclass
class Pace:
    """The recent rate of a counter that grows in lumps, a block at a time.

    It starts with the first lump, which is not counted itself: nobody knows how much of the time
    before it was work, and how much the loading of models or waiting for the stage before.
    """

    _lumps: deque[tuple[float, int]] = field(default_factory=deque)
    """(time in seconds, count from then on)."""

    def update(self, count: int, *, now: float) -> None:
        """Take note of the counter."""
        if count <= (self._lumps[-1][1] if self._lumps else 0):
            return
        self._lumps.append((now, count))
        while len(self._lumps) > MIN_LUMPS and self._lumps[0][0] < now - WINDOW_SECONDS:
            self._lumps.popleft()

    def rate(self, *, now: float) -> float | None:
        """Scenes a second; falls when the next lump is overdue. None before the second lump."""
        if len(self._lumps) < 2:
            return None
        (begin, before), (last, count) = self._lumps[0], self._lumps[-1]
        gap = (last - begin) / (len(self._lumps) - 1)
        return (count - before) / (max(last, now - gap) - begin)

    def seconds_for(self, scenes: float, *, now: float) -> float | None:
        """How long that many more scenes take; None when the rate is not known yet."""
        rate = self.rate(now=now)
        return None if rate is None else scenes / rate

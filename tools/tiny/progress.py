"""Progress of a long training or drawing: how many units, how fast, and how long still."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console

from imig.console.bar import Bar
from imig.console.texts import seconds_to_clock


class Progress:
    """A context manager; `advance` counts finished units and shows rate, time left and figures.

    `done` units were finished earlier and do not count for the rate. Off a terminal a line is
    printed every `line_seconds`.
    """

    def __init__(
        self, title: str, *, total: int, done: int = 0, unit: str = "it", line_seconds: float = 15
    ) -> None:
        self.total, self.unit = total, unit
        self._first = self._done = done
        self._line_seconds = line_seconds
        self._started = self._shown = time.monotonic()
        self._bar = Bar(title, total=total, done=done, console=Console())

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self._show("")
        self._bar.__exit__(kind, error, traceback)

    @property
    def rate(self) -> float:
        """Units a second since the start."""
        return (self._done - self._first) / max(time.monotonic() - self._started, 1e-9)

    def advance(self, count: int = 1, figures: str = "") -> None:
        """Counts `count` more units as finished; `figures` stands beside the rate."""
        self._done += count
        if self.due():
            self._show(figures)

    def due(self) -> bool:
        """Whether the next `advance` will show figures, so that making them is worth the while."""
        return self._bar.is_drawn or time.monotonic() - self._shown >= self._line_seconds

    def _show(self, figures: str) -> None:
        self._shown = time.monotonic()
        left = min((self.total - self._done) / max(self.rate, 1e-9), 359_999)
        parts = [f"{self.rate:.3g} {self.unit}/s", f"{seconds_to_clock(left)} left", figures]
        self._bar.show(self._done, ", ".join(filter(None, parts)))

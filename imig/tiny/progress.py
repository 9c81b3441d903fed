"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress:
    """A context manager; `advance` counts finished units and shows rate, time left and figures.

    `done` units were finished earlier and do not count for the rate. Off a terminal a line is
    printed every `line_seconds`.
    """

    def __init__(
        self, title: str, *, total: int, done: int = 0, unit: str = "it", line_seconds: float = 15
    ) -> None:
        self.title, self.total, self.unit = title, total, unit
        self._first = self._done = done
        self._line_seconds = line_seconds
        self._console = Console(highlight=False, soft_wrap=True)
        self._started = self._shown = time.monotonic()
        self._bar: RichProgress | None = None
        if self._console.is_terminal:
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task(title, total=total, completed=done, figures="")

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif kind is None:
            self._print("")

    @property
    def rate(self) -> float:
        """Units a second since the start."""
        return (self._done - self._first) / max(time.monotonic() - self._started, 1e-9)

    def advance(self, count: int = 1, figures: str = "") -> None:
        """Counts `count` more units as finished; `figures` stands beside the rate."""
        self._done += count
        rate = f"{self.rate:.3g} {self.unit}/s"
        if self._bar is not None:
            shown = f"{rate} {figures}"
            self._bar.update(self._task, advance=count, figures=shown)
        elif time.monotonic() - self._shown >= self._line_seconds:
            self._print(figures)

    def due(self) -> bool:
        """Whether the next `advance` will show figures, so that making them is worth the while."""
        return self._bar is not None or time.monotonic() - self._shown >= self._line_seconds

    def _print(self, figures: str) -> None:
        self._shown = time.monotonic()
        left = (self.total - self._done) / max(self.rate, 1e-9)
        minutes, seconds = divmod(int(min(left, 359_999)), 60)
        self._console.print(
            f"{self.title}: {self._done}/{self.total}, {self.rate:.3g} {self.unit}/s, "
            f"{minutes}:{seconds:02d} left{', ' + figures if figures else ''}"
        )

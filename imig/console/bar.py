"""Steps that are counted: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from imig.console.lines import say


class Bar:
    """A context manager, which shows how many of `total` steps are done, and figures beside them.

    Parameters
    ----------
    title:
        What is being done.
    total, done:
        Steps in all, and those that earlier runs have done.
    console:
        Where to. On a terminal the bar is redrawn in place, elsewhere `show` prints a line.
    """

    def __init__(self, title: str, *, total: int, done: int, console: Console) -> None:
        self._title = title
        self._total = total
        self._console = console
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=16),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}", markup=False),
                console=console,
            )
            self._task = self._bar.add_task(title, total=total, completed=done, figures="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def is_drawn(self) -> bool:
        """Whether it is redrawn in place, so that it can be shown often."""
        return self._bar is not None

    def advance(self, done: int) -> None:
        """So many steps are done; nothing new to say about them."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def show(self, done: int, figures: str) -> None:
        """So many steps are done, with these figures."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, figures=figures)
        else:
            self.print(f"{self._title}: {done}/{self._total}, {figures}")

    def print(self, text: str) -> None:
        """A line that stays, above the bar where there is one."""
        say(self._console, text)

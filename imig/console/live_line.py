"""How a long run shows itself: redrawn in place on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from imig.console.lines import say

LINE_SECONDS = 10.0
"""Between two plain lines."""


class LiveLine:
    """What is redrawn goes when the run ends; plain lines come about every ten seconds and stay.

    Parameters
    ----------
    redraw_seconds:
        The least between two drawings on a terminal.
    clock:
        Seconds, growing.
    """

    def __init__(
        self,
        console: Console,
        *,
        redraw_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._clock = clock
        self._redraw_seconds = redraw_seconds
        self._shown = clock()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show_line(
        self, line: Callable[[], str], *, drawing: Callable[[], RenderableType] | None = None
    ) -> None:
        """Show what `line` makes when it is time for it; on a terminal the drawing in its place."""
        now = self._clock()
        if now - self._shown < (LINE_SECONDS if self._live is None else self._redraw_seconds):
            return
        self._shown = now
        if self._live is not None:
            self._live.update(Text(line()) if drawing is None else drawing(), refresh=True)
        else:
            say(self._console, line())

"""What a person sees while a dataset is encoded: a line that moves, or one now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live

from imig.engine.pace import Pace
from imig.engine.progress import LINE_SECONDS, rate_to_text
from imig.engine.report import seconds_to_text


class EncodeProgress:
    """Rate and remaining time.

    On a terminal a line that is redrawn in place; elsewhere one about every ten seconds.

    Parameters
    ----------
    total:
        Scenes of the dataset.
    before:
        Of them, those that earlier runs have finished.
    clock:
        Seconds, growing.
    """

    def __init__(
        self,
        console: Console,
        *,
        total: int,
        before: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._total, self._before, self._clock = console, total, before, clock
        self._pace = Pace()
        self._last_line = clock()
        self._live: Live | None = None

    def __enter__(self) -> EncodeProgress:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
            self._live.update("loading text encoders and autoencoder", refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, done: int) -> None:
        """So many scenes are through in this run."""
        now = self._clock()
        self._pace.update(done, now=now)
        if self._live is not None:
            if done:
                self._live.update(self._line(done, now=now), refresh=True)
        elif now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self._console.print(self._line(done, now=now), highlight=False, soft_wrap=True)

    def _line(self, done: int, *, now: float) -> str:
        line = f"{self._before + done}/{self._total} scenes"
        rate = self._pace.rate(now=now)
        remaining = self._pace.seconds_for(self._total - self._before - done, now=now)
        if rate is None or remaining is None:
            return line if done else f"{line}, loading text encoders and autoencoder"
        return f"{line}, {rate_to_text(rate)}/s, about {seconds_to_text(remaining)} left"

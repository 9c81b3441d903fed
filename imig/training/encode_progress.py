"""What a person sees while a dataset is encoded: a line that moves, or one now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from rich.console import Console

from imig.console.live_line import LiveLine
from imig.console.pace import Pace
from imig.console.texts import rate_to_text, seconds_to_text


class EncodeProgress(LiveLine):
    """Rate and remaining time.

    On a terminal a line that is redrawn in place; elsewhere one about every ten seconds.

    Parameters
    ----------
    total:
        Scenes of the dataset.
    before:
        Of them, those that earlier runs have finished.
    """

    def __init__(
        self,
        console: Console,
        *,
        total: int,
        before: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(console, clock=clock)
        self._total, self._before = total, before
        self._pace = Pace()

    def __enter__(self) -> Self:
        super().__enter__()
        self.show_line(lambda: "loading text encoders and autoencoder")
        return self

    def show(self, done: int) -> None:
        """So many scenes are through in this run."""
        now = self._clock()
        self._pace.update(done, now=now)
        if done or self._live is None:
            self.show_line(lambda: self._line(done, now=now))

    def _line(self, done: int, *, now: float) -> str:
        line = f"{self._before + done}/{self._total} scenes"
        rate = self._pace.rate(now=now)
        remaining = self._pace.seconds_for(self._total - self._before - done, now=now)
        if rate is None or remaining is None:
            return line if done else f"{line}, loading text encoders and autoencoder"
        return f"{line}, {rate_to_text(rate)}/s, about {seconds_to_text(remaining)} left"

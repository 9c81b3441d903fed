"""What a person sees while scenes go in or out: how many are through, and how fast."""

from __future__ import annotations

import time

from rich.console import Console

from imig.console.live_line import LiveLine
from imig.console.pace import Pace
from imig.console.texts import rate_to_text, seconds_to_text


class SceneLine(LiveLine):
    """A line that is redrawn on a terminal; elsewhere one about every ten seconds.

    Parameters
    ----------
    total, done:
        Scenes in all, and those that earlier runs have finished.
    """

    def __init__(self, console: Console, *, total: int, done: int) -> None:
        super().__init__(console)
        self._total, self._done, self._before = total, done, done
        self._pace = Pace()

    def advance(self, scenes: int) -> None:
        """So many more are through."""
        self._done += scenes
        self._pace.update(self._done - self._before, now=time.monotonic())
        self.show_line(self._text)

    def _text(self) -> str:
        now = time.monotonic()
        line = f"{self._done}/{self._total} scenes"
        rate = self._pace.rate(now=now)
        left = self._pace.seconds_for(self._total - self._done, now=now)
        if rate is None or left is None:
            return line
        return f"{line}, {rate_to_text(rate)}/s, about {seconds_to_text(left)} left"

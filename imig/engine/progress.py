"""What a person sees while a build runs: a live table, or a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from imig.console.lines import say
from imig.console.live_line import LiveLine
from imig.console.pace import Pace
from imig.console.texts import rate_to_text, seconds_to_text
from imig.engine.plan import Plan
from imig.engine.tally import Snapshot
from imig.output.tally import StageTally

_COLUMNS = ("stage", "done", "rate/s", "ETA", "waiting", "rejected", "quarantined", "s/scene")


@dataclass(frozen=True)
class _StageState:
    """A row of the table."""

    name: str
    tally: StageTally
    ready: bool
    """Its models are loaded."""
    waiting: int
    """Scenes that the stage before has passed on."""
    to_come: float
    """Scenes that it will still see, when stages go on to turn down as many as so far."""


class BuildProgress(LiveLine):
    """Rates and remaining time of a running build.

    On a terminal a table that is redrawn in place: for each stage the scenes it has seen, how many
    a second of late, how many wait for it, and when it will be through. Elsewhere one plain line
    about every ten seconds.

    Parameters
    ----------
    finished_scenes:
        Scenes that earlier runs have finished.
    """

    def __init__(
        self,
        plan: Plan,
        console: Console,
        *,
        finished_scenes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(console, clock=clock)
        self._stages = [step.stage.name for step in plan.steps]
        self._total = plan.scenes
        self._before = finished_scenes
        self._done = 0
        self._pace = Pace()
        self._stage_paces = {name: Pace() for name in self._stages}

    def advance(self, scenes: int) -> None:
        """More scenes are through: written, rejected or quarantined."""
        self._done += scenes
        self._pace.update(self._done, now=self._clock())

    def show(self, snapshot: Snapshot) -> None:
        """Redraw the table, or print a line when one is due; what workers say comes at once."""
        now = self._clock()
        for line in snapshot.lines:
            self.say(line)
        for name, tally in snapshot.tallies.items():
            self._stage_paces[name].update(tally.seen, now=now)
        self.show_line(lambda: self._line(snapshot), drawing=lambda: self._table(snapshot))

    def say(self, line: str) -> None:
        """A line that stays, for what a person should know."""
        say(self._console, line, style="yellow")

    def remaining_seconds(self) -> float | None:
        """At the recent pace of finished scenes; None before the second block is through."""
        left = self._total - self._before - self._done
        return self._pace.seconds_for(left, now=self._clock())

    def _summary(self, snapshot: Snapshot) -> str:
        summary = f"{self._before + self._done}/{self._total} scenes"
        rate, remaining = self._pace.rate(now=self._clock()), self.remaining_seconds()
        if rate is not None and remaining is not None:
            return f"{summary}, {rate_to_text(rate)}/s, about {seconds_to_text(remaining)} left"
        loading = [name for name in self._stages if name not in snapshot.ready]
        return f"{summary}, loading {', '.join(loading)}" if loading else summary

    def _line(self, snapshot: Snapshot) -> str:
        stages = ", ".join(map(self._stage_text, self._states(snapshot)))
        return f"{self._summary(snapshot)} | {stages}"

    def _stage_text(self, state: _StageState) -> str:
        rate = self._rate_text(state)
        return f"{state.name} {state.tally.seen}" + (f" ({rate}/s)" if rate else "")

    def _table(self, snapshot: Snapshot) -> Table:
        table = Table(
            box=None, pad_edge=False, header_style="bold", caption=self._summary(snapshot)
        )
        table.caption_justify = "left"
        for name in _COLUMNS:
            table.add_column(name, justify="left" if name == "stage" else "right", no_wrap=True)
        for state in self._states(snapshot):
            tally = state.tally
            table.add_row(
                state.name,
                str(tally.seen),
                self._rate_text(state),
                self._eta_text(state),
                str(state.waiting or ""),
                str(tally.rejected or ""),
                str(tally.quarantined or ""),
                f"{tally.seconds / tally.seen:.3f}" if tally.seen else "",
            )
        return table

    def _states(self, snapshot: Snapshot) -> Iterator[_StageState]:
        arrived, to_arrive = self._total - self._before, 0.0
        for name in self._stages:
            tally = snapshot.tallies.get(name, StageTally())
            waiting = max(0, arrived - tally.seen)
            to_come = waiting + to_arrive
            ready = name in snapshot.ready or tally.seen > 0
            yield _StageState(name, tally, ready, waiting=waiting, to_come=to_come)
            arrived = tally.passed
            to_arrive = to_come * (tally.passed / tally.seen if tally.seen else 1.0)

    def _rate_text(self, state: _StageState) -> str:
        rate = self._stage_paces[state.name].rate(now=self._clock())
        return "" if rate is None or state.to_come == 0 else rate_to_text(rate)

    def _eta_text(self, state: _StageState) -> str:
        if not state.ready:
            return "loading"
        if state.to_come == 0:
            return "done"
        seconds = self._stage_paces[state.name].seconds_for(state.to_come, now=self._clock())
        return "" if seconds is None else seconds_to_text(seconds)

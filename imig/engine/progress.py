"""What a person sees while a build runs: a live table, or a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from imig.console.lines import say
from imig.console.live_line import LiveLine
from imig.console.texts import rate_to_text, seconds_to_text
from imig.engine.groups import Group
from imig.engine.plan import Plan
from imig.engine.status import BuildMeter, BuildObserver, BuildStatus, StageStatus
from imig.engine.tally import Snapshot

_COLUMNS = ("stage", "done", "rate/s", "ETA", "waiting", "rejected", "quarantined", "s/scene")


class BuildProgress(LiveLine):
    """Rates and remaining time of a running build.

    On a terminal a table that is redrawn in place: for each stage the scenes it has seen, how many
    a second of late, how many wait for it, and when it will be through. Elsewhere one plain line
    about every ten seconds.

    Parameters
    ----------
    finished_scenes:
        Scenes that earlier runs have finished.
    observers:
        Who else is told.
    """

    def __init__(
        self,
        plan: Plan,
        console: Console,
        *,
        finished_scenes: int,
        observers: Sequence[BuildObserver] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(console, clock=clock)
        self._meter = BuildMeter(plan, finished_scenes=finished_scenes, clock=clock)
        self._observers = observers

    def advance(self, scenes: int) -> None:
        """More scenes are through: written, rejected or quarantined."""
        self._meter.advance(scenes)

    def show(self, snapshot: Snapshot) -> None:
        """Redraw the table, or print a line when one is due; what workers say comes at once."""
        for line in snapshot.lines:
            self.warn(line)
        status = self._meter.status(snapshot)
        for one in self._observers:
            one.progressed(status)
        self.show_line(lambda: _line(status), drawing=lambda: _table(status))

    def show_workers(self, groups: Sequence[Group], *, finished_scenes: int) -> None:
        """These are the workers from now on; `finished_scenes` were through before them."""
        self._meter.begin(finished_scenes=finished_scenes)
        for one in self._observers:
            one.workers(groups)

    def warn(self, text: str) -> None:
        """A line that stays, above the table where there is one, for what a person should know."""
        say(self._console, text, style="yellow")
        for one in self._observers:
            one.warned(text)


def _summary(status: BuildStatus) -> str:
    summary = f"{status.done}/{status.scenes} scenes"
    if status.rate is not None and status.seconds_left is not None:
        left = seconds_to_text(status.seconds_left)
        return f"{summary}, {rate_to_text(status.rate)}/s, about {left} left"
    loading = [stage.name for stage in status.stages if not stage.ready]
    return f"{summary}, loading {', '.join(loading)}" if loading else summary


def _line(status: BuildStatus) -> str:
    return f"{_summary(status)} | {', '.join(map(_stage_text, status.stages))}"


def _stage_text(stage: StageStatus) -> str:
    rate = "" if stage.rate is None else f" ({rate_to_text(stage.rate)}/s)"
    return f"{stage.name} {stage.tally.seen}{rate}"


def _table(status: BuildStatus) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", caption=_summary(status))
    table.caption_justify = "left"
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "stage" else "right", no_wrap=True)
    for stage in status.stages:
        tally = stage.tally
        table.add_row(
            stage.name,
            str(tally.seen),
            "" if stage.rate is None else rate_to_text(stage.rate),
            _eta_text(stage),
            str(stage.waiting or ""),
            str(tally.rejected or ""),
            str(tally.quarantined or ""),
            f"{tally.seconds / tally.seen:.3f}" if tally.seen else "",
        )
    return table


def _eta_text(stage: StageStatus) -> str:
    if not stage.ready:
        return "loading"
    if stage.to_come == 0:
        return "done"
    return "" if stage.seconds_left is None else seconds_to_text(stage.seconds_left)

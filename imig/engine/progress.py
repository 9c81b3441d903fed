"""What a person sees while a build runs: a live table, or a line now and then."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from imig.engine.plan import Plan
from imig.engine.report import seconds_to_text
from imig.engine.tally import Snapshot

LINE_SECONDS = 10.0


class Progress:
    """Rates and remaining time of a running build.

    On a terminal a table that is redrawn in place: stage, scenes done, scenes a second, scenes that
    wait for it. Elsewhere one plain line about every ten seconds.
    """

    def __init__(self, plan: Plan, console: Console, *, finished_scenes: int) -> None:
        self._stages = [step.stage.name for step in plan.steps]
        self._total = plan.scenes
        self._before = finished_scenes
        self._done = 0
        self._console = console
        self._started = time.monotonic()
        self._last_line = self._started
        self._first_done: float | None = None
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def advance(self, scenes: int) -> None:
        """More scenes are through: written, rejected or quarantined."""
        if self._first_done is None:
            self._first_done = time.monotonic()
        self._done += scenes

    def show(self, snapshot: Snapshot) -> None:
        """Redraw the table, or print a line when one is due."""
        if self._live is not None:
            self._live.update(self._table(snapshot), refresh=True)
        elif time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(self._line(snapshot), highlight=False, soft_wrap=True)

    def remaining_seconds(self) -> float | None:
        """From the pace since the first block came through; None before that."""
        if self._first_done is None or self._done == 0:
            return None
        # Loading models is over when the first block is through: count the pace from the start
        # of the work, but never from before it.
        elapsed = time.monotonic() - self._started
        left = self._total - self._before - self._done
        return left * elapsed / self._done

    def _summary(self) -> str:
        elapsed = time.monotonic() - self._started
        remaining = self.remaining_seconds()
        eta = "" if remaining is None else f", about {seconds_to_text(remaining)} left"
        return (
            f"{self._before + self._done}/{self._total} scenes, "
            f"{self._done / elapsed if elapsed else 0:.1f}/s{eta}"
        )

    def _line(self, snapshot: Snapshot) -> str:
        stages = " ".join(
            f"{name} {snapshot.tallies[name].seen if name in snapshot.tallies else 0}"
            for name in self._stages
        )
        return f"{self._summary()} | {stages}"

    def _table(self, snapshot: Snapshot) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", caption=self._summary())
        table.caption_justify = "left"
        for name in ("stage", "done", "rate/s", "waiting", "rejected", "quarantined", "s/scene"):
            table.add_column(name, justify="left" if name == "stage" else "right")
        elapsed = max(time.monotonic() - self._started, 1e-6)
        arriving = self._total - self._before
        for name in self._stages:
            tally = snapshot.tallies.get(name)
            if tally is None:
                state = "" if name in snapshot.ready else "loading"
                table.add_row(name, "0", "", state)
                arriving = 0
                continue
            table.add_row(
                name,
                str(tally.seen),
                f"{tally.seen / elapsed:.1f}",
                str(max(0, arriving - tally.seen)),
                str(tally.rejected or ""),
                str(tally.quarantined or ""),
                f"{tally.seconds / tally.seen:.3f}" if tally.seen else "",
            )
            arriving = tally.passed
        return table

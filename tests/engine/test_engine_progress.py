"""Rates and remaining times, on a clock of our own."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from support.engine_stages import Judge, make_test_plan, write_recipe

from imig.console.pace import WINDOW_SECONDS, Pace
from imig.engine.progress import BuildProgress
from imig.engine.tally import Snapshot
from imig.output.tally import StageTally


def test_the_time_before_the_first_lump_is_no_work() -> None:
    pace = Pace()
    pace.update(8, now=100.0)
    assert pace.rate(now=101.0) is None
    pace.update(16, now=104.0)
    assert pace.rate(now=104.0) == pytest.approx(8 / 4)
    assert pace.seconds_for(10, now=104.0) == pytest.approx(5.0)


def test_only_lately_counts() -> None:
    pace = Pace()
    for second in range(100):
        pace.update(1 + second, now=float(second))
    for second in range(100, 100 + 2 * int(WINDOW_SECONDS)):
        pace.update(100 + 10 * (second - 99), now=float(second))
    assert pace.rate(now=219.0) == pytest.approx(10.0)


def test_the_rate_falls_when_a_lump_is_overdue() -> None:
    pace = Pace()
    pace.update(8, now=0.0)
    pace.update(16, now=2.0)
    assert pace.rate(now=4.0) == pytest.approx(4.0)
    assert pace.rate(now=18.0) == pytest.approx(0.5)


class Clock:
    """Stands in for `time.monotonic`."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def shown(folder: Path, *, terminal: bool) -> list[str]:
    """The lines of a build of 40 scenes: 30 s of loading, then 4 scenes every 12 s; half pass."""
    plan = make_test_plan(folder / "d", recipe=write_recipe(folder), scenes=40, judge=Judge())
    clock, screen = Clock(), io.StringIO()
    console = Console(file=screen, width=100, force_terminal=terminal)
    with BuildProgress(plan, console, finished_scenes=0, clock=clock) as progress:
        clock.seconds = 15.0
        progress.show(Snapshot(ready={"source"}))
        for finished in (0, 4, 8):
            clock.seconds = 30.0 + 3 * finished
            if finished:
                progress.advance(4)
            source, judge = StageTally(seen=finished + 8), StageTally(seen=finished)
            judge.rejected = finished // 2
            tallies = {"source": source, "filter": judge}
            progress.show(Snapshot(tallies=tallies, ready={"source", "filter"}))
    # Each redraw begins with moves of the cursor.
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", re.sub(r"\x1b\[1A", "\n", screen.getvalue()))
    return [line.strip() for line in plain.replace("\r", "\n").splitlines() if line.strip()]


def test_a_terminal_shows_rate_and_eta_of_each_stage(tmp_path: Path) -> None:
    lines = shown(tmp_path, terminal=True)
    assert lines[0].split()[:4] == ["stage", "done", "rate/s", "ETA"]
    assert lines[2].split() == ["filter", "0", "loading"]
    assert lines[3] == "0/40 scenes, loading filter"
    # 24 of 40 are still to be drawn, 32 to be judged; the pace is 4 in 12 s.
    assert lines[-3].split() == ["source", "16", "0.33", *["1", "min", "12", "s"], "24", "0.000"]
    assert lines[-2].split() == ["filter", "8", "0.33", *["1", "min", "36", "s"], "8", "4", "0.000"]
    assert lines[-1] == "8/40 scenes, 0.33/s, about 1 min 36 s left"


def test_elsewhere_a_line_now_and_then(tmp_path: Path) -> None:
    assert shown(tmp_path, terminal=False) == [
        "0/40 scenes, loading filter | source 0, filter 0",
        "0/40 scenes | source 8, filter 0",
        "4/40 scenes | source 12 (0.33/s), filter 4",
        "8/40 scenes, 0.33/s, about 1 min 36 s left | source 16 (0.33/s), filter 8 (0.33/s)",
    ]

"""Looks after the process that measures: reads its journal, ends it when a part takes too long.

A GPU's errors stay with the process that met them, and a kernel or a compiler that hangs cannot be
interrupted from inside. So another process measures, one part after the other; where it dies or
must be ended, a new one goes on with the parts that are left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from benchmarks.gpu.report import Report

GRACE = 15.0
"""Seconds that a part may take beyond its deadline, after which it begins nothing new."""
IMPORTS = 300.0
"""Seconds until the first part must have begun: a bare machine reads PyTorch for the first time."""
POLL = 0.3
STDERR_KEPT = 4000
"""Characters of a dead process's last words."""


@dataclass(frozen=True)
class Plan:
    """What the process that measures is told, through a file."""

    small: bool
    shares: Mapping[str, float]
    """The parts in order, and how the time is divided among them."""
    end: float
    """When all should have ended: seconds since the epoch."""
    extra_path: str
    """A folder with packages that the machine lacks."""
    folder: Path
    """For the journal, and what the parts put on the disk."""
    package: str = "benchmarks.gpu.parts"
    """Whose modules the parts are."""

    @property
    def journal(self) -> Path:
        return self.folder / "journal.jsonl"

    @property
    def errors(self) -> Path:
        return self.folder / "stderr.txt"


@dataclass
class _Reader:
    """Reads what has been added to the journal."""

    path: Path
    _place: int = 0

    def lines(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        with self.path.open("rb") as file:
            file.seek(self._place)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._place += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


def supervise(plan: Plan, report: Report, written: Callable[[], None]) -> None:
    """Runs all parts of the plan; calls `written` whenever the report has changed."""
    reader = _Reader(plan.journal)
    while (waiting := report.waiting()) and time.time() < plan.end:
        with plan.errors.open("wb") as errors:
            process = _start(plan, waiting, errors)
            try:
                late = _follow(process, plan, report, reader, written)
            finally:
                _end(process)
        _take(reader, report)
        ran = _settle(report, plan, late=late, code=process.returncode)
        if not ran and report.waiting() == waiting:
            # it ended before it began a part, and the next one would
            for name in waiting:
                report.parts[name].status = "failed"
                report.parts[name].why = _last_words(plan, process.returncode)
        written()
    for name in waiting:
        report.parts[name].status, report.parts[name].why = "cut", "there was no time left for it"
    written()


def _start(plan: Plan, names: list[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    path = plan.folder / "plan.json"
    told = {
        "small": plan.small,
        "shares": {name: plan.shares[name] for name in names},
        "end": plan.end,
        "extra_path": plan.extra_path,
        "package": plan.package,
        "folder": str(plan.folder),
        "journal": str(plan.journal),
    }
    path.write_text(json.dumps(told), encoding="utf-8")
    # a session of its own, so that the compiler's processes end with it
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu.measure", str(path)],
        stderr=errors,
        start_new_session=True,
    )


def _follow(
    process: subprocess.Popen[bytes],
    plan: Plan,
    report: Report,
    reader: _Reader,
    written: Callable[[], None],
) -> bool:
    """Until the process ends, or takes longer than it may (True)."""
    begins_until = min(time.time() + IMPORTS, plan.end)
    begun = False
    while process.poll() is None:
        if _take(reader, report):
            begun = True
            written()
        running = [one.deadline for one in report.parts.values() if one.status == "running"]
        limit = running[0] if running else plan.end if begun else begins_until
        if time.time() > limit + GRACE:
            return True
        time.sleep(POLL)
    return False


def _take(reader: _Reader, report: Report) -> bool:
    lines = reader.lines()
    for line in lines:
        report.take(line)
    return bool(lines)


def _settle(report: Report, plan: Plan, *, late: bool, code: int | None) -> bool:
    """What the part that was running has come to; False where none was."""
    running = [part for part in report.parts.values() if part.status == "running"]
    for part in running:
        part.status = "cut" if late else "failed"
        part.seconds = time.time() - part.began
        part.why = _last_words(plan, code)
        if late:
            part.why += f"\nit took {GRACE:.0f} s longer than it may, and was ended"
    return bool(running)


def _last_words(plan: Plan, code: int | None) -> str:
    words = plan.errors.read_text(encoding="utf-8", errors="replace")[-STDERR_KEPT:]
    return f"{words}\nthe process that measures ended with code {code}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

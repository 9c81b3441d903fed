"""Every part of imig beside its peer or its limit.

    python -m benchmarks.suite [PART ...] [--small] [--json FILE]

Prints a table and writes it as JSON after each part, so that a stopped run keeps what it has.
Exits with 0 whatever the figures are: a benchmark is no test.
"""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

import imig
from benchmarks.suite import parts
from benchmarks.suite.measuring import measure, measure_apart
from benchmarks.suite.rows import Row

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    names = part_names()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suite",
        description=(__doc__ or "").splitlines()[0],
        epilog=f"parts: {', '.join(names)}",
    )
    parser.add_argument("part", nargs="*", metavar="PART", help="default: all")
    parser.add_argument("--small", action="store_true", help="seconds: only proves that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.part) - set(names)):
        parser.error(f"no part {', '.join(unknown)}; there are: {', '.join(names)}")
    # Before a part imports numpy or torch: spinning threads on a shared core are no measurement.
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    console = Console(width=max(Console().width, 130))
    rows: list[Row] = []
    for part in given.part or names:
        started = time.perf_counter()
        # In small a process each would take most of the time.
        found = (measure if given.small else measure_apart)(part, small=given.small)
        rows.extend(found)
        console.print(table(found), highlight=False)
        console.print(f"{part}: {time.perf_counter() - started:.0f} s", highlight=False)
        if given.json:
            write(given.json, rows, small=given.small)
    return 0


def part_names() -> list[str]:
    """The modules of `benchmarks.suite.parts`, sorted; those with a leading _ are their helpers."""
    found = pkgutil.iter_modules(parts.__path__)
    return sorted(one.name for one in found if not one.name.startswith("_"))


def table(rows: Sequence[Row]) -> Table:
    """The rows as people read them."""
    shown = Table("part", "case", "ours", "theirs", "unit", "against", "ratio", "bar", "")
    for row in rows:
        shown.add_row(
            row.part,
            row.case,
            f"{row.ours:,.3g}",
            f"{row.theirs:,.3g}",
            row.unit,
            row.against,
            f"{row.ratio:.2f}",
            "" if row.bar is None else str(row.bar),
            row.verdict(),
        )
    return shown


def write(path: Path, rows: Sequence[Row], *, small: bool) -> None:
    """The rows and where they were measured, as JSON."""
    report = {
        "imig": imig.__version__,
        "date": date.today().isoformat(),
        "small": small,
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "processor": processor_name(),
            "python": platform.python_version(),
        },
        "rows": [{**asdict(row), "verdict": row.verdict()} for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def processor_name() -> str:
    """The model as Linux has it, else what Python knows."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


if __name__ == "__main__":
    raise SystemExit(main())

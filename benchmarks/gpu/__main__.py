"""imig on one GPU: masks, training step, models at full size, sampling, optimizers, offload.

    python -m benchmarks.gpu [PART ...] [--small] [--json FILE] [--budget-seconds 540]

Measures with random weights, and checks that fast ways compute what plain ones do. The report is
written after every figure, so that a stopped run keeps what it has. Exits with 1 where something
failed or a check does not hold; figures have no bar. docs/gpu-benchmark.md says what they mean.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import imig
from benchmarks.gpu import wheels
from benchmarks.gpu.parts import SECONDS
from benchmarks.gpu.report import PartReport, Report
from benchmarks.gpu.supervise import Plan, supervise

DEVICES = Path("/dev")
"""Where a GPU shows itself, should nvidia-smi not be found."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    told = sys.argv[1:] if arguments is None else arguments
    given = _parser().parse_args(told)
    names = [name for name in SECONDS if name in (given.part or SECONDS)]
    driver = card_and_driver()
    if not given.small and driver is None and not any(DEVICES.glob("nvidia*")):
        print("there is no GPU here: --small proves on a CPU that all of it runs")
        return 2
    with tempfile.TemporaryDirectory(prefix="imig-gpu-") as folder:
        site = Path(folder) / "site"
        plan = Plan(
            small=given.small,
            shares={name: SECONDS[name] for name in names},
            end=time.time() + given.budget_seconds,
            extra_path=str(site),
            folder=Path(folder),
        )
        heading = {
            "benchmark": "gpu",
            "imig": imig.__version__,
            "command": shlex.join(["python", "-m", "benchmarks.gpu", *told]),
            "date": date.today().isoformat(),
            "small": given.small,
            "budget_seconds": given.budget_seconds,
            "machine": {"nvidia_smi": driver, "wheels": wheels.unpack(given.wheels, site)},
        }
        report = Report(heading, {name: PartReport() for name in names})
        started = time.perf_counter()
        shown: set[str] = set()

        def written() -> None:
            report.heading["seconds"] = time.perf_counter() - started
            if given.json:
                report.write(given.json)
            for name, part in report.parts.items():
                if name not in shown and part.status not in ("waiting", "running"):
                    shown.add(name)
                    print("\n".join(report.figure_lines(name)), flush=True)

        written()
        supervise(plan, report, written)
    print("\n".join(["", *report.verdict_lines()]))
    return 0 if report.holds else 1


def card_and_driver() -> str | None:
    """Name, driver, memory and power limit of the first GPU by nvidia-smi; None without one."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,power.limit"]
    try:
        answer = subprocess.run(
            [*command, "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(answer.stdout.strip().splitlines()), None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=(__doc__ or "").splitlines()[0],
        epilog=f"parts: {', '.join(SECONDS)}",
    )
    parser.add_argument("part", nargs="*", choices=[*SECONDS, []], metavar="PART")
    parser.add_argument("--small", action="store_true", help="a minute on a CPU: that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the report")
    parser.add_argument("--budget-seconds", type=float, default=540.0, metavar="SECONDS")
    parser.add_argument(
        "--wheels",
        type=Path,
        default=wheels.FOLDER,
        metavar="FOLDER",
        help="packages that the machine lacks (`make gpu-wheels`)",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

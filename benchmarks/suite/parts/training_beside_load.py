"""`imig train` beside busy programs, against `imig train` alone.

The recipe `train-tiny` with the threads that the command chooses, on a small encoded dataset: each
run is a process of its own, and its pace is what it wrote into its metrics. A busy program is a
loop in Python, one thread that never waits. Wall time, since that is what the load takes away: on
a machine that is busy anyway the figures mean little.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.suite.parts._scenes import draw_samples, write_dataset
from benchmarks.suite.rows import Bar, Row
from imig.training.metrics import read_metrics

BUSY = "while True: pass"
BARS = {1: Bar(at_least=0.5), 2: None}
"""Beside so many busy programs; two leave a machine of two cores less than half."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY")


def measure(*, small: bool) -> list[Row]:
    """Samples a second; `ratio` is the pace beside the load over the pace alone."""
    rounds, steps = (1, 2) if small else (2, 8)
    loads = [0, 1] if small else [0, *BARS]
    paces: dict[int, list[float]] = {load: [] for load in loads}
    with tempfile.TemporaryDirectory() as folder:
        samples = draw_samples(4 if small else 32, size=256)
        dataset = write_dataset(Path(folder) / "plain", samples, scenes_per_shard=100)
        if not small:
            encoded = Path(folder) / "encoded"
            _imig("encode", str(dataset), "--output", str(encoded))
            dataset = encoded
        for number in range(rounds):
            for load in loads:
                run = Path(folder) / f"run-{number}-{load}"
                with _busy(load):
                    paces[load].append(_pace(dataset, run, steps=steps))
    alone = median(paces[0])
    return [
        Row(
            part="training_beside_load",
            case=f"imig train beside {load} busy program{'s' if load > 1 else ''}",
            unit="samples/s",
            ours=median(paces[load]),
            theirs=alone,
            against="limit: alone",
            ratio=median(paces[load]) / alone,
            bar=BARS[load],
        )
        for load in loads[1:]
    ]


def _pace(dataset: Path, run: Path, *, steps: int) -> float:
    """Samples a second in the middle of the steps; the first one starts things up."""
    quiet = {"watch.log_every": 1, "watch.validate_every": 0, "watch.picture_every": 0}
    settings = {"steps": steps, **quiet, "data.validation_fraction": 0}
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    _imig("train", "--shards", str(dataset), "--output", str(run), *overrides)
    paces = [line["samples_per_second"] for line in read_metrics(run / "metrics.jsonl")]
    return median(one for one in paces[1:] if one is not None)


def _imig(*arguments: str) -> None:
    """The command as a user's shell starts it: the suite's own limits on threads are not its."""
    environment = {name: one for name, one in os.environ.items() if name not in THREADS}
    subprocess.run(
        [sys.executable, "-m", "imig", *arguments],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )


@contextmanager
def _busy(count: int) -> Iterator[None]:
    programs = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for one in programs:
            one.kill()
            one.wait()

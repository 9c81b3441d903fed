"""`imig build` with tiny models, beside plain loops over the same stages, one process a core.

Imports and the loading of models included: that is what somebody waits for who tries imig.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.suite.rows import Bar, Row
from benchmarks.suite.turns import seconds_in_turn

RECIPES = ("basic", "complex", "flexible")
SCENES = 60
IMIG = (sys.executable, "-m", "imig.cli")
EMPTY_RAY = (
    "from imig.engine.cluster import ray_session\n"
    "with ray_session(address=None, needed_cpus=2): pass\n"
)
WHOLE_SECONDS = 90.0
"""Wanted for the three datasets of `make build-dataset` and their merge."""


def measure(*, small: bool) -> list[Row]:
    """Seconds a build, whole processes, by the clock."""
    scenes = 8 if small else SCENES
    recipes = RECIPES[:1] if small else RECIPES
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rows = []
        for recipe in recipes:
            rows += _measure_recipe(recipe, scenes=scenes, work=work, repeats=1 if small else 2)
        if not small:
            rows.append(_measure_all(scenes=scenes, work=work))
    return rows


def _measure_recipe(recipe: str, *, scenes: int, work: Path, repeats: int) -> list[Row]:
    first_scene: list[float] = []
    loops = len(os.sched_getaffinity(0))

    def ours() -> None:
        first_scene.append(_build(recipe, scenes=scenes, output=work / "ours"))

    seconds = seconds_in_turn(
        {
            "ours": ours,
            "limit": lambda: _run_loops(recipe, scenes=scenes, output=work / "loop", count=loops),
            "ray": lambda: _run([sys.executable, "-c", EMPTY_RAY]),
        },
        repeats=repeats,
        warm_up=False,
    )
    case = f"{recipe}, {scenes} scenes"
    return [
        Row(
            part="small build",
            case=case,
            unit="s",
            ours=seconds["ours"],
            theirs=seconds["limit"],
            against=f"limit: {loops} plain loops (ratio: without an empty Ray session, "
            f"{seconds['ray']:.1f} s)",
            ratio=(seconds["ours"] - seconds["ray"]) / seconds["limit"],
            bar=Bar(at_most=1.2),
        ),
        Row(
            part="small build",
            case=f"{case}: the first scene is finished",
            unit="s",
            ours=median(first_scene),
            theirs=10.0,
            against="wanted",
            ratio=median(first_scene) / 10.0,
            bar=Bar(at_most=1.0),
        ),
    ]


def _measure_all(*, scenes: int, work: Path) -> Row:
    started = time.perf_counter()
    parts = work / "parts"
    limited = ["--set", "models=tiny", "--limit", str(scenes)]
    _run([*IMIG, "build", *RECIPES, *limited, "--output", str(parts)])
    _run([*IMIG, "merge", *(str(parts / one) for one in RECIPES), "--output", str(work / "merged")])
    seconds = time.perf_counter() - started
    return Row(
        part="small build",
        case=f"make build-dataset: {' + '.join(RECIPES)}, merged",
        unit="s",
        ours=seconds,
        theirs=WHOLE_SECONDS,
        against="wanted",
        ratio=seconds / WHOLE_SECONDS,
        bar=Bar(at_most=1.0),
    )


def _build(recipe: str, *, scenes: int, output: Path) -> float:
    """Seconds until the first block, with its scenes, is on the disk."""
    shutil.rmtree(output, ignore_errors=True)
    command = [*IMIG, "build", recipe, "--set", "models=tiny", "--limit", str(scenes)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--output", str(output)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    first = 0.0
    while process.poll() is None:
        if not first and any(output.glob(".build/parts/*.json")):
            first = time.perf_counter() - started
        time.sleep(0.02)
    if process.returncode:
        assert process.stderr is not None
        raise RuntimeError(f"{command} failed: {process.stderr.read().decode()}")
    return first


def _run_loops(recipe: str, *, scenes: int, output: Path, count: int) -> None:
    shutil.rmtree(output, ignore_errors=True)
    module = f"{__package__}._plain_loop"
    loops = [
        subprocess.Popen(
            [sys.executable, "-m", module, recipe, str(i), str(count), str(scenes), str(output)],
            stdout=subprocess.DEVNULL,
        )
        for i in range(count)
    ]
    codes = [one.wait() for one in loops]  # of all, also when one has failed
    if any(codes):
        raise RuntimeError(f"a plain loop over {recipe} failed")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

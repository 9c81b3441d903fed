"""The engine alone: a long build beside its slowest stage, and what a scene costs without work."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from pathlib import Path

from benchmarks.suite.parts._engine_stages import Placeholders, TurnDown, Working, make_plan
from benchmarks.suite.rows import Bar, Row
from imig.engine.blocks import Block, run_stage
from imig.engine.plan import Plan

MILLISECONDS = {"draw": (90, 0), "ground": (36, 2), "segment": (54, 3), "score": (27, 2)}
"""Of a scene, waiting as for a GPU and computing. Real drawing takes ten times as long and more."""
PICTURE_BYTES = 100_000
"""Bytes of a picture."""
NOTHING = ("draw", "ground", "segment", "crop", "score", "quality")


def measure(*, small: bool) -> list[Row]:
    """Inside one Ray session, whose start is no part of what is measured."""
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH")))
    )
    from imig.engine.cluster import ray_session

    # In memory: disks are measured elsewhere.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with (
        ray_session(address=None, needed_cpus=6),
        tempfile.TemporaryDirectory(dir=memory) as folder,
    ):
        return [
            *_long_build(Path(folder), scenes=40 if small else 1000),
            *_overhead(Path(folder), scenes=200 if small else 20_000),
        ]


def _long_build(work: Path, *, scenes: int) -> list[Row]:
    plan = _working_plan(work, scenes=scenes)
    seconds = _stream(plan, work / "long")
    slowest = max(wait + compute for wait, compute in MILLISECONDS.values()) / 1000 * scenes
    one_by_one = _stage_after_stage(plan, scenes=min(scenes, 40)) * scenes
    return [
        Row(
            part="engine",
            case=f"long build, {scenes} scenes",
            unit="scenes/s",
            ours=scenes / seconds,
            theirs=scenes / slowest,
            against="limit: the slowest stage alone",
            ratio=slowest / seconds,
            bar=Bar(at_least=0.90),
        ),
        Row(
            part="engine",
            case=f"long build, {scenes} scenes",
            unit="scenes/s",
            ours=scenes / seconds,
            theirs=scenes / one_by_one,
            against="peer: stage after stage (40 scenes measured)",
            ratio=one_by_one / seconds,
            bar=Bar(at_least=2.0),
        ),
    ]


def _working_plan(work: Path, *, scenes: int) -> Plan:
    """Each stage has a worker of its own, as full-size models have."""
    stages = [
        Working(name, wait=wait / 1000, compute=compute / 1000)
        for name, (wait, compute) in MILLISECONDS.items()
    ]
    return make_plan(
        [
            (Placeholders(scenes, picture_bytes=PICTURE_BYTES), {}),
            # Stages without models, which share a worker where they ask for the same.
            *((stage, {"cpus": 0.5 + i / 100}) for i, stage in enumerate(stages)),
            (TurnDown(), {}),
        ],
        output=work,
        fuse="never",
    )


def _stage_after_stage(plan: Plan, *, scenes: int) -> float:
    """Seconds a scene when every stage ends before the next begins, in this process."""
    block = Block(0, 0, scenes, samples=plan.source.enumerate(0, scenes))
    started = time.perf_counter()
    for step in plan.steps:
        run_stage(block, step.stage, batch_size=8)
    return (time.perf_counter() - started) / scenes


def _overhead(work: Path, *, scenes: int) -> list[Row]:
    memory, seconds = [], []
    for count in (scenes // 10, scenes):
        plan = make_plan(
            [
                (Placeholders(count, picture_bytes=PICTURE_BYTES), {}),
                *((Working(name), {}) for name in NOTHING),
                (TurnDown(), {}),
            ],
            output=work,
            fuse="auto",
        )
        seconds.append(_stream(plan, work / f"overhead-{count}"))
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    # The start of the workers is in both runs.
    pace = (scenes - scenes // 10) / (seconds[1] - seconds[0])
    return [
        Row(
            part="engine",
            case=f"{scenes} scenes of 100 kB through {len(NOTHING) + 2} stages that do nothing",
            unit="scenes/s",
            ours=pace,
            theirs=2000.0,
            against="wanted",
            ratio=pace / 2000.0,
            bar=Bar(at_least=1.0),
        ),
        Row(
            part="engine",
            case=f"memory of the driver after {scenes} scenes",
            unit="MB",
            ours=memory[1],
            theirs=memory[0],
            against=f"itself after {scenes // 10}",
            ratio=memory[1] / memory[0],
            bar=Bar(at_most=1.1),
        ),
    ]


def _stream(plan: Plan, parts: Path) -> float:
    """Seconds to send every scene of the plan through its stages, workers' start included."""
    from imig.engine.machine import local_machine
    from imig.engine.sizes import begin_sizes
    from imig.engine.stream import stream_blocks

    parts.mkdir()
    started = time.perf_counter()
    groups = plan.groups(local_machine())
    sizes = begin_sizes(plan, {})
    for _ in stream_blocks(plan, range(plan.blocks), groups=groups, parts=parts, sizes=sizes):
        pass
    return time.perf_counter() - started

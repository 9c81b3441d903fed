"""Does imig stay what it is when a dataset grows to a million scenes, and a cluster to 64 GPUs?

    python -m benchmarks.scale [PART ...] [--scenes N] [--small] [--json FILE]

    throughput  stages that wait as long as real models would compute, on logical GPUs: scenes a
                second beside the bound of the slowest stage
    driver      builds of 1,000 scenes and more whose stages cost nothing: time, and the processor
                time and the memory of the process that steers
    finish      the end of a build from its shards' records: index, tables, counts
    reading     opening a dataset, random access, `imig validate`

Everything is measured in a process of its own. Exits with 0 whatever the figures are.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import imig
from benchmarks.scale_parts.stages import Load, make_plan

Figures = dict[str, float]

FASTER: Final = 10.0
"""Latencies are divided by it: an hour of a cluster in six minutes, the engine as much busier."""
REAL_SECONDS: Final = {"draw": 5.30, "segment": 0.015, "edit": 46.0, "score": 0.35}
"""GPU seconds a scene of the recipe `complex` on an H100, as benchmarks/full_size_cost.py counts
them at a utilisation of 0.4; grounding is in segment, and looking at edited views in score."""
GPUS: Final = {"draw": 7, "segment": 1, "edit": 55, "score": 1}
"""Workers with a GPU each: 64, divided as the seconds are."""
BLOCK: Final = 64
"""Scenes a block, where stages cost nothing: as many as 8 would mostly measure the disk."""


def measure_throughput(scenes: int, folder: Path) -> Figures:
    """The stream of a build on 64 logical GPUs, from its first block to its last."""
    import ray

    loads = [Load(name, REAL_SECONDS[name] / FASTER, GPUS[name], 1.0) for name in GPUS]
    quiet: dict[str, Any] = {
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    ray.init(address="local", num_cpus=256, num_gpus=sum(GPUS.values()), **quiet)
    from imig.engine.cluster import ray_session
    from imig.engine.sizes import begin_sizes
    from imig.engine.stream import stream_blocks
    from imig.engine.tally import Snapshot

    plan = make_plan(scenes, loads, output=folder / "d", block_size=8, picture_bytes=100_000)
    parts = folder / "parts"
    parts.mkdir()
    ready, started = 0.0, time.time()
    with ray_session(address=None, needed_cpus=1) as machine:
        groups = plan.groups(machine)
        sizes = begin_sizes(plan, {})
        for event in stream_blocks(
            plan, range(plan.blocks), groups=groups, parts=parts, sizes=sizes
        ):
            if isinstance(event, Snapshot) and not ready and len(event.ready) > len(loads):
                ready = time.time() - started
    # When the last workers wrote them: the driver hears of several at once.
    finished = sorted(one.stat().st_mtime - started for one in parts.glob("*.json"))
    rate = _middle_rate(finished) * plan.block_size
    bound = min(load.bound for load in loads)
    return {
        "scenes": scenes,
        "workers": sum(group.workers for group in groups),
        "gpus": sum(GPUS.values()),
        "seconds": finished[-1],
        "seconds_until_each_stage_has_a_worker": ready,
        "scenes_per_second_bound": bound,
        "scenes_per_second": rate,
        "of_the_bound": rate / bound,
        **_process(),
    }


def _middle_rate(finished: Sequence[float]) -> float:
    """Blocks a second between the first fifth and the last: without filling and emptying."""
    low, high = len(finished) // 5, len(finished) * 4 // 5
    return (high - low) / (finished[high] - finished[low])


def measure_driver(scenes: int, folder: Path) -> Figures:
    """A whole build, shards and manifest included, of stages that cost nothing."""
    from rich.console import Console

    from imig.engine.build import build
    from imig.engine.cluster import ray_session

    loads = [Load(name, 0.0) for name in ("draw", "ground", "segment", "crop", "score")]
    plan = make_plan(scenes, loads, output=folder / "d", block_size=BLOCK, picture_bytes=0)
    with ray_session(address=None, needed_cpus=2):
        before, started = _process(), time.perf_counter()
        finished = build(plan, Console(quiet=True))
        seconds = time.perf_counter() - started
    assert finished is not None
    assert finished.manifest.counts.written == scenes
    after = _process()
    used = after["processor_seconds"] - before["processor_seconds"]
    return {
        "scenes": scenes,
        "seconds": seconds,
        "scenes_per_second": scenes / seconds,
        "driver_milliseconds_a_scene": 1000 * used / scenes,
        "driver_memory_mb": after["memory_mb"],
    }


def measure_finish(scenes: int, folder: Path) -> Figures:
    """What the end of a build does with the records of all shards, one after the other."""
    from benchmarks.scale_parts.tables import write_records
    from imig.licences.ledger import add_up
    from imig.output.record import read_record
    from imig.output.writing import Contents
    from imig.shards.index import write_index
    from imig.shards.tables import write_tables

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # memory of its own
        shards = pool.submit(write_records, folder / "records", scenes=scenes).result()
    before, started = _process(), time.perf_counter()
    contents = Contents()
    for shard in range(shards):
        contents.add(read_record(folder / "records" / f"{shard:06d}.json"))
    read = time.perf_counter() - started
    write_index(folder / "index.parquet", contents.rows)
    write_tables(folder, rejects=contents.rejects, quarantined=contents.quarantined)
    seconds = time.perf_counter() - started
    ledger = _manifest_of_nothing()
    assert add_up(ledger, contents.rows).sources[0].scenes == len(contents.rows)
    return {
        "scenes": scenes,
        "seconds_to_read_records": read,
        "seconds": seconds,
        "memory_mb": _process()["memory_mb"],
        "memory_before_mb": before["memory_mb"],
        "index_mb": (folder / "index.parquet").stat().st_size / 1e6,
    }


def _manifest_of_nothing() -> Any:
    from imig.schema import Counts, Manifest

    return Manifest(
        name="scale",
        recipe={},
        recipe_sha256="0" * 64,
        models=[],
        packages={},
        counts=Counts(input=0, written=0, rejected=0, quarantined=0),
        shards=[],
    )


def measure_reading(scenes: int, folder: Path) -> Figures:
    """Opening by the index of so many scenes; access and validation of a tenth that is there."""
    from benchmarks.scale_parts.tables import write_indexed_folder, write_whole_folder
    from imig import Dataset

    whole = max(1000, scenes // 10)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(write_indexed_folder, folder / "indexed", scenes=scenes).result()
        pool.submit(write_whole_folder, folder / "whole", scenes=whole).result()
    Dataset(folder / "whole")  # what is imported by the first is not counted
    before = _process()["memory_mb"]
    opening = []
    for _ in range(3):
        started = time.perf_counter()
        dataset = Dataset(folder / "indexed")
        opening.append(time.perf_counter() - started)
    assert len(dataset) == scenes
    opened = _process()["memory_mb"]
    del dataset
    there = Dataset(folder / "whole")
    chance, access = random.Random(0), []
    for _ in range(500):
        wanted = f"basic-{chance.randrange(whole):08d}"
        started = time.perf_counter()
        assert there[wanted].record.id == wanted
        access.append(time.perf_counter() - started)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        checked = pool.submit(_validate, folder / "whole").result()
    return {
        "scenes": scenes,
        "seconds_to_open": statistics.median(opening),
        "memory_to_open_mb": opened - before,
        "milliseconds_of_random_access": 1000 * statistics.median(access),
        "milliseconds_of_random_access_p99": 1000 * statistics.quantiles(access, n=100)[-1],
        **checked,
    }


def _validate(folder: Path) -> Figures:
    from imig import validate

    before, started = _process()["memory_mb"], time.perf_counter()
    report = validate(folder)
    return {
        "validated_scenes": report.samples,
        "seconds_to_validate": time.perf_counter() - started,
        "memory_to_validate_mb": _process()["memory_mb"] - before,
    }


def _process() -> Figures:
    """Processor time of this process until now, and the most memory that it has had."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Not `ru_maxrss`, which a process inherits of the one that has started it.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return {
        "processor_seconds": used.ru_utime + used.ru_stime,
        "memory_mb": int(peak.split()[1]) / 1024,
    }


PARTS: Final[dict[str, Callable[[int, Path], Figures]]] = {
    "throughput": measure_throughput,
    "driver": measure_driver,
    "finish": measure_finish,
    "reading": measure_reading,
}
SCENES: Final = {
    "throughput": (2400,),
    "driver": (1_000, 10_000, 100_000, 1_000_000),
    "finish": (1_000, 10_000, 100_000, 1_000_000),
    "reading": (1_000, 10_000, 100_000, 1_000_000),
}
SMALL: Final = {"throughput": (), "driver": (128,), "finish": (1000,), "reading": (1000,)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--scenes", type=int, metavar="N", help="this many and no other number")
    parser.add_argument("--small", action="store_true", help="only proves that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="added to, part by part")
    given = parser.parse_args(arguments)
    for part in given.part or PARTS:
        sizes = (given.scenes,) if given.scenes else (SMALL if given.small else SCENES)[part]
        for scenes in sizes:
            figures = _apart(part, scenes)
            print(part, json.dumps(figures), flush=True)
            if given.json is not None:
                _keep(given.json, part, figures)
    return 0


def _apart(part: str, scenes: int) -> Figures:
    with _scratch() as folder, ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_run, part, scenes, folder).result()


def _run(part: str, scenes: int, folder: Path) -> Figures:
    load, figures = os.getloadavg()[0], PARTS[part](scenes, folder)
    rounded = {name: round(value, 4) for name, value in figures.items()}
    return {**rounded, "load_of_the_machine": round(max(load, os.getloadavg()[0]), 1)}


@contextmanager
def _scratch() -> Iterator[Path]:
    """In memory where that is to be had: disks are measured elsewhere."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    root = str(Path(__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory(prefix="imig-scale-", dir=memory) as folder:
        yield Path(folder)


def _keep(path: Path, part: str, figures: Figures) -> None:
    """Put figures into the file, in place of those of as many scenes."""
    kept = json.loads(path.read_text()) if path.exists() else {"parts": {}}
    kept |= {
        "benchmark": "scale",
        "command": f"python -m benchmarks.scale --json {path}",
        "date": date.today().isoformat(),
        "imig": imig.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    others = [one for one in kept["parts"].get(part, []) if one["scenes"] != figures["scenes"]]
    kept["parts"][part] = sorted([*others, figures], key=lambda one: one["scenes"])
    path.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())

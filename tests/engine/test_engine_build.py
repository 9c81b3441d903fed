"""Builds on a real Ray, started once for the file."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pytest
from rich.console import Console
from support.engine_build import build_here
from support.engine_process import digests, processes_of, start, wait_for_parts
from support.engine_stages import Draw, Judge, make_test_plan, missing_weight, write_recipe
from support.hungry_models import Hungry

from imig.checks.dataset import validate_dataset
from imig.engine import stream, workers
from imig.engine.blocks import Block
from imig.engine.build import build, build_each
from imig.engine.cluster import ray_session
from imig.engine.finish import FinishedBuild
from imig.engine.fitting import FittingSize
from imig.engine.parts import part_record, part_tar
from imig.engine.plan import Plan, Step, make_plan
from imig.engine.sizes import begin_sizes
from imig.engine.tally import Snapshot, Tally
from imig.engine.workers import FinishedBlock
from imig.errors import DataError, UsageError
from imig.output.folder import build_lock
from imig.recipe.file import load_recipe
from imig.recipe.parts import Resources
from imig.shards.dataset import Dataset

SUPPORT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    """One Ray for all builds; it finds `support` through the environment."""
    with (
        patch.dict(os.environ, {"PYTHONPATH": str(SUPPORT)}),
        ray_session(address=None, needed_cpus=6),
    ):
        yield


def plan_for(
    folder: Path,
    judge: Judge,
    *,
    scenes: int = 40,
    engine: str = "",
    concurrency: int = 1,
    scenes_per_shard: int = 16,
) -> Plan:
    recipe = write_recipe(folder, engine=engine, scenes_per_shard=scenes_per_shard)
    return make_test_plan(
        folder / "d", recipe=recipe, scenes=scenes, judge=judge, concurrency=concurrency
    )


def run(plan: Plan, *, overwrite: bool = False) -> tuple[FinishedBuild | None, str]:
    screen = io.StringIO()
    finished = build(plan, Console(file=screen, width=120), overwrite=overwrite)
    return finished, screen.getvalue()


def test_bad_scenes_are_set_aside_and_the_rest_is_built(tmp_path: Path) -> None:
    judge = Judge(raise_on=[8, 21])
    finished, screen = run(plan_for(tmp_path, judge, engine=", max_error_rate: 0.2", concurrency=2))
    assert finished is not None
    counts = finished.manifest.counts
    # 3, 10, 17, 24, 31, 38 are turned down.
    assert (counts.input, counts.written, counts.rejected, counts.quarantined) == (40, 32, 6, 2)
    assert validate_dataset(tmp_path / "d").faults == []
    quarantine = pd.read_parquet(tmp_path / "d" / "quarantine.parquet")
    assert list(quarantine["id"]) == ["basic-00000008", "basic-00000021"]
    assert set(quarantine["error"]) == {
        "ValueError: cannot judge 8",
        "ValueError: cannot judge 21",
    }
    assert "raise ValueError" in quarantine["traceback"][0]
    rejects = pd.read_parquet(tmp_path / "d" / "rejects.parquet")
    assert rejects["figures"][1] == '{"number": 10}'
    assert "unlucky: 6, ValueError: 2" in screen
    assert f"wrote 32 scenes in 3 shards to {tmp_path / 'd'} (6 rejected, 2 quarantined)" in (
        screen.replace("\n", " ")
    )
    again, screen = run(plan_for(tmp_path, judge))
    assert again is None
    assert "finished already" in screen


def test_too_many_bad_scenes_stop_the_build_and_the_cure_continues_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ValueError: cannot judge") as caught:
        run(plan_for(tmp_path, Judge(raise_on=range(0, 40, 2)), scenes_per_shard=64))
    assert "engine.max_error_rate" in caught.value.cure
    assert not (tmp_path / "d" / "dataset.json").exists()
    # The tests share one Ray, so the workers of the stopped build may still be alive; whatever they
    # wrote after the stop would meet this build's parts.
    finished, _ = run(plan_for(tmp_path, Judge(), scenes_per_shard=64))
    assert finished is not None
    assert finished.manifest.counts.quarantined == 0
    assert finished.manifest.counts.written == 34


def test_after_the_stop_the_last_worker_writes_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(workers, "limit_threads", lambda count: None)  # it is this process
    tally: Any = ray.remote(num_cpus=0)(Tally).remote()
    steps = plan_for(tmp_path, Judge()).steps
    sizes = {one.stage.name: FittingSize(3, 3) for one in steps}
    worker = workers.StageWorker(
        steps, tally=tally, blocks=None, parts=tmp_path, threads=1, sizes=sizes
    )
    samples = steps[0].stage.enumerate(0, 8)  # type: ignore[attr-defined]
    worker(workers.pickle_to_table(Block(0, 0, 4, samples=samples[:4])))
    written = set(tmp_path.iterdir())
    assert {part_tar(tmp_path, 0), part_record(tmp_path, 0)} <= written
    assert ray.get(tally.close.remote()) == 0
    with pytest.raises(RuntimeError, match="has been stopped"):
        worker(workers.pickle_to_table(Block(1, 4, 8, samples=samples[4:])))
    assert set(tmp_path.iterdir()) == written
    # Nothing is under way that the stop would have to wait for.
    assert ray.get(tally.close.remote()) == 0


def test_a_stage_that_cannot_start_says_so_itself(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tiny weights are missing") as caught:
        run(plan_for(tmp_path, Judge(setup_error=missing_weight())))
    assert caught.value.cure == "make weights"


def test_an_unexpected_error_at_the_start_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"stage filter could not start(.|\n)*KeyError: 'x'"):
        run(plan_for(tmp_path, Judge(setup_error=KeyError("x"))))


def test_a_worker_that_dies_once_is_started_again(tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    finished, _ = run(plan_for(tmp_path, Judge(die_on=9, deaths=deaths, max_deaths=1)))
    assert len(list(deaths.iterdir())) == 1
    assert finished is not None
    assert finished.manifest.counts.written == 34


@pytest.mark.long
def test_blocks_that_share_a_task_with_a_death_are_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imig.engine import stream

    monkeypatch.setattr(stream, "MIN_TASKS_A_WORKER", 1)
    assert stream._input_tasks(10, workers=1) == 1
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    judge = Judge(die_on=25, deaths=deaths, max_deaths=1, raise_on=[5])
    # One failure among the scenes seen so far is below `max_error_rate`; counted twice, above.
    finished, _ = run(plan_for(tmp_path, judge))
    assert len(list(deaths.iterdir())) == 1
    assert finished is not None
    assert finished.manifest.counts.written == 33
    (tmp_path / "calm").mkdir()
    run(plan_for(tmp_path / "calm", Judge(raise_on=[5])))
    assert digests(tmp_path / "d") == digests(tmp_path / "calm" / "d")


@pytest.mark.parametrize(
    ("blocks", "workers", "tasks"),
    [(8, 2, 8), (100, 2, 64), (5_000, 2, 313), (125_000, 64, 7_813), (10**6, 1, 10_000)],
)
def test_many_blocks_share_tasks(blocks: int, workers: int, tasks: int) -> None:
    assert stream._input_tasks(blocks, workers=workers) == tasks


def test_a_small_block_goes_on_before_its_task_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or many workers of a later stage would find something to do for few of them."""
    monkeypatch.setattr(stream, "MIN_TASKS_A_WORKER", 1)
    steps = Step(Draw(24, seconds=0.15)), Step(Judge(), Resources(cpus=0.5))
    plan = replace(plan_for(tmp_path, Judge(), scenes=24), steps=steps)
    assert stream._input_tasks(plan.blocks, workers=1) == 1
    parts = tmp_path / "parts"
    parts.mkdir()
    with ray_session(address=None, needed_cpus=2) as machine:
        groups = plan.groups(machine)
        assert len(groups) == 2
        events = stream.stream_blocks(
            plan, range(plan.blocks), groups=groups, parts=parts, sizes=begin_sizes(plan, {})
        )
        next(event for event in events if isinstance(event, FinishedBlock))
        then = next(event for event in events if isinstance(event, Snapshot))
        events.close()
    assert then.tallies["source"].seen < 24


def test_a_scene_that_kills_its_worker_is_quarantined(tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    finished, screen = run(plan_for(tmp_path, Judge(die_on=9, deaths=deaths, max_deaths=99)))
    assert finished is not None
    assert (finished.manifest.counts.written, finished.manifest.counts.quarantined) == (33, 1)
    (aside,) = Dataset(tmp_path / "d").quarantined()
    assert (aside.id, aside.stage, aside.fault) == ("basic-00000009", "filter", "data")
    assert aside.error.startswith("WorkerDied: SIGKILL (signal 9)")
    assert "basic-00000009 is quarantined: stage filter: WorkerDied" in " ".join(screen.split())
    # In Ray's worker, with the whole block, with the half, alone, alone once more.
    assert len(list(deaths.iterdir())) <= 6


@pytest.mark.long
def test_a_killed_build_is_finished_on_another_ray(tmp_path: Path) -> None:
    recipe, output = write_recipe(tmp_path), tmp_path / "d"
    build_here(tmp_path / "undisturbed", recipe, ray=False)
    process = start(output, recipe, seconds=0.05, ray=True)
    wait_for_parts(output, 4, process)
    process.kill()
    process.communicate()
    assert not (output / "dataset.json").exists()
    deadline = time.monotonic() + 30
    while processes_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_of(process.pid) == []
    assert "finished by an earlier run" in build_here(output, recipe, ray=True)
    assert digests(output) == digests(tmp_path / "undisturbed")


def test_more_gpus_than_there_are(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, Judge())
    greedy = Step(plan.steps[1].stage, Resources(gpus=512))
    plan = Plan(
        loaded=plan.loaded,
        steps=(plan.steps[0], greedy),
        models=(),
        scenes=plan.scenes,
        output=plan.output,
    )
    with pytest.raises(UsageError, match="ask for 512 GPUs"):
        run(plan)


def test_the_bytes_are_the_same_whoever_shares_a_worker(tmp_path: Path) -> None:
    found = {}
    for fuse in ("never", "auto", "always"):
        folder = tmp_path / fuse
        folder.mkdir()
        # a worker of its own in `auto`, since it asks for two
        plan = plan_for(folder, Judge(raise_on=[5]), engine=f", fuse: {fuse}", concurrency=2)
        finished, _ = run(plan)
        assert finished is not None
        found[fuse] = {path.name: path.read_bytes() for path in (folder / "d").glob("*.tar")}
    assert len(found["never"]) == 3
    assert found["never"] == found["auto"] == found["always"]


def test_a_build_goes_on_with_other_workers(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        run(plan_for(tmp_path, Judge(raise_on=range(20, 40)), scenes_per_shard=64))
    begun = len(list((tmp_path / "d" / ".build" / "parts").glob("*.json")))
    assert begun
    plan = plan_for(tmp_path, Judge(), engine=", fuse: never", scenes_per_shard=64)
    finished, screen = run(plan)
    assert finished is not None
    assert f"({begun * 4} finished by an earlier run)" in screen.replace("\n", " ")


@pytest.mark.long
def test_several_builds_share_a_ray_and_stop_at_the_first_fault(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir()
    judges = [Judge(), Judge(), Judge(setup_error=missing_weight())]
    plans = [plan_for(*pair) for pair in zip(folders, judges, strict=True)]
    console = Console(file=io.StringIO(), width=120)
    with pytest.raises(UsageError, match="tiny weights are missing"):
        build_each(plans, console)
    assert [(folder / "d" / "dataset.json").exists() for folder in folders] == [True, True, False]
    assert build_each(plans[:2], console) == [None, None], "both are finished already"


def test_two_builds_into_one_folder(tmp_path: Path) -> None:
    with (
        build_lock(tmp_path / "d"),
        pytest.raises(UsageError, match=f"another build writes .*process {os.getpid()} on"),
    ):
        run(plan_for(tmp_path, Judge()))


@pytest.mark.long
def test_workers_tell_which_batches_fit(tmp_path: Path) -> None:
    """On a CPU, with torch's own error; without Ray: tests/engine/test_engine_fitting.py."""
    finished, screen = run(plan_for(tmp_path, Hungry(2), concurrency=2))
    assert finished is not None
    [record] = finished.manifest.batch_sizes
    assert (record.stage, record.asked) == ("filter", 3)
    assert [(one.batch_size, one.scenes) for one in record.used] == [(1, 40)]
    assert screen.count("filter: out of GPU memory in batches of 3; goes on in batches of 1") == 1
    assert validate_dataset(tmp_path / "d").faults == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("fits", "message"),
    [
        ("0", "stage caption could not start: the GPU's memory is too small for its models: CUDA"),
        ("1", None),
    ],
)
def test_a_recipe_with_auto_and_a_small_memory(
    tmp_path: Path, fits: str, message: str | None
) -> None:
    (tmp_path / "fits.txt").write_text(fits)
    (tmp_path / "hungry.yaml").write_text(
        "name: hungry\nsource: {kind: tabletop, count: 8, width: 64, height: 64}\n"
        "caption:\n  overwrite: true\n  resources: {batch_size: auto}\n"
        f"  model: {{family: 'support.hungry_models:HungryCaptioner', weights: {tmp_path}}}\n"
    )
    plan = make_plan(load_recipe(tmp_path / "hungry.yaml"), output=tmp_path / "d")
    if message is not None:
        with pytest.raises(DataError) as caught:
            run(plan)
        assert caught.value.message.startswith(message)
        assert "resources.gpus" in caught.value.cure
        return
    finished, screen = run(plan)
    assert finished is not None
    assert "caption: batches of 1 fit into the GPU's memory (batch_size: auto)" in screen
    assert [one.asked for one in finished.manifest.batch_sizes] == ["auto"]

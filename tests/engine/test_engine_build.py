"""Builds on a real Ray, started once for the file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from support.engine_stages import Judge, make_test_plan, missing_weight, write_recipe

from imig.engine.build import build
from imig.engine.cluster import ray_session
from imig.engine.finish import FinishedBuild
from imig.engine.folder import build_lock
from imig.engine.plan import Plan, Step
from imig.errors import DataError, UsageError
from imig.recipe import Resources
from imig.shards.validate import validate_dataset

SUPPORT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    """One Ray for all builds; it finds `support` through the environment."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(SUPPORT)
    widest = Step(Judge(), Resources(cpus=6))
    try:
        with ray_session([widest], address=None):
            yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


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


def test_a_worker_that_dies_again_ends_the_build(tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    with pytest.raises(DataError, match="died 2 times on scenes basic-00000008 to basic-00000011"):
        run(plan_for(tmp_path, Judge(die_on=9, deaths=deaths, max_deaths=9)))


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


def test_two_builds_into_one_folder(tmp_path: Path) -> None:
    with (
        build_lock(tmp_path / "d"),
        pytest.raises(UsageError, match=f"another build writes .*process {os.getpid()} on"),
    ):
        run(plan_for(tmp_path, Judge()))

"""Builds on a Ray cluster of several nodes of this machine; nodes are killed in the middle."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.engine_build import build_here
from support.engine_process import digests
from support.engine_stages import make_test_plan, write_recipe
from support.ray_cluster import TESTS, PlacedJudge, kill_when, nodes, ray_cluster

from imig.engine.build import build
from imig.engine.plan import Plan, Step
from imig.errors import UsageError
from imig.recipe.parts import Resources

pytestmark = pytest.mark.long

SCENES = 90


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster() as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of the build without Ray."""
    folder = tmp_path_factory.mktemp("undisturbed")
    build_here(folder / "d", write_recipe(folder), ray=False)
    return compared(folder / "d")


def compared(folder: Path) -> dict[str, str]:
    """Without the manifest, whose recipe names the cluster's address."""
    return {name: digest for name, digest in digests(folder).items() if name != "dataset.json"}


def plan_for(
    folder: Path, cluster: Any, *, concurrency: int, seconds: float = 0.0, judges: str = "judge"
) -> Plan:
    """`judges`: the custom resource that workers of the second stage take."""
    places = folder / "places"
    places.mkdir()
    recipe = write_recipe(folder, engine=f", ray_address: '{cluster.address}'")
    judge = PlacedJudge(places=places, seconds=seconds)
    plan = make_test_plan(folder / "d", recipe=recipe, scenes=SCENES, judge=judge)
    resources = Resources(batch_size=3, concurrency=concurrency, custom={judges: 1})
    return replace(plan, steps=(plan.steps[0], Step(judge, resources)))


def run(plan: Plan) -> str:
    screen = io.StringIO()
    build(plan, Console(file=screen, width=160))
    return screen.getvalue()


def finished_parts(folder: Path) -> int:
    return len([*folder.glob("d/.build/parts/*.json"), *folder.glob("d/*.tar")])


def test_a_stage_runs_only_where_its_custom_resource_is(
    cluster: Any, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    with nodes(cluster, {"num_cpus": 4}, {"num_cpus": 2, "resources": {"judge": 2}}) as added:
        run(plan_for(tmp_path, cluster, concurrency=2))
        placed = {one.name.partition("-")[0] for one in (tmp_path / "places").iterdir()}
        assert placed == {added[1].node_id}
    assert compared(tmp_path / "d") == undisturbed


@pytest.mark.parametrize(
    ("concurrency", "said"),
    [
        pytest.param(2, "its workers start anew on other nodes", id="others-hold-its-workers"),
        pytest.param(4, "going on with the workers that fit", id="others-hold-fewer-workers"),
    ],
)
def test_a_node_killed_in_mid_build_changes_no_byte(
    cluster: Any, undisturbed: dict[str, str], tmp_path: Path, concurrency: int, said: str
) -> None:
    judges = {"num_cpus": 2, "resources": {"judge": 2}}
    with nodes(cluster, judges, judges) as added:
        plan = plan_for(tmp_path, cluster, concurrency=concurrency, seconds=0.15 * concurrency)
        killer = kill_when(cluster, added[0], lambda: finished_parts(tmp_path) >= 3)
        screen = run(plan)
        killer.join()
    assert "lost " in screen, screen
    assert said in screen
    assert compared(tmp_path / "d") == undisturbed
    assert not (tmp_path / "d" / ".build").exists()


def test_a_node_with_another_version_is_named_before_anything_starts(
    cluster: Any, tmp_path: Path
) -> None:
    other = tmp_path / "site" / "torch-1.2.3.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.2.3\n")
    paths = os.pathsep.join([str(other.parent), os.environ["PYTHONPATH"]])
    old = {"num_cpus": 1, "resources": {"judge": 1}, "env_vars": {"PYTHONPATH": paths}}
    with nodes(cluster, old), pytest.raises(UsageError, match=r"torch is 1\.2\.3 there") as caught:
        run(plan_for(tmp_path, cluster, concurrency=1))
    assert caught.value.message.startswith("node ")
    assert "pip install torch==" in caught.value.cure
    assert not list((tmp_path / "places").iterdir())
    assert not list((tmp_path / "d").glob("*.tar"))


def test_a_resource_that_no_node_has_is_an_error_and_no_endless_wait(
    cluster: Any, tmp_path: Path
) -> None:
    plan = plan_for(tmp_path, cluster, concurrency=1, judges="telescope")
    refused = pytest.raises(UsageError, match="no place for the workers of filter")
    with nodes(cluster, {"num_cpus": 1}), refused as caught:
        run(plan)
    assert """--resources='{"telescope": 1}'""" in caught.value.cure


def test_the_command_builds_on_a_cluster_what_it_builds_alone(cluster: Any, tmp_path: Path) -> None:
    with nodes(cluster, {"num_cpus": 1}):
        settings = ("--set", "models=tiny", "--set", f"engine.ray_address={cluster.address}")
        options = (*settings, "--limit", "8", "--log", "json", "--output", str(tmp_path / "d"))
        settings = ("--set", "models=tiny", "--set", f"engine.ray_address={cluster.address}")
        options = (*settings, "--limit", "8", "--log", "json", "--output", str(tmp_path / "d"))
        done = subprocess.run(
            [sys.executable, "-m", "imig", "build", "basic", *options],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
        )
    assert done.returncode == 0, done.stderr
    assert sha256((tmp_path / "d/basic-000000.tar").read_bytes()).hexdigest()[:8] == "fccafac4"
    # Nothing of Ray comes between.
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert events[0]["event"] == "started"
    assert events[-1]["event"] == "finished"

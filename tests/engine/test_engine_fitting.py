"""A GPU's memory that runs out: batches are halved, the record says it, a rerun agrees. No Ray."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
from rich.console import Console
from support import engine_build as in_process
from support.engine_build import finish_blocks, run_in_process
from support.engine_process import digests
from support.engine_stages import Draw, write_recipe
from support.hungry_models import Hungry

import imig
import imig.engine.build as engine
from imig.checks.dataset import validate_dataset
from imig.engine import fitting
from imig.engine.finish import FinishedBuild
from imig.engine.fitting import FittingSize
from imig.engine.folder import BuildFolder
from imig.engine.plan import Plan, Step, make_plan
from imig.engine.tally import Snapshot
from imig.engine.workers import FinishedBlock
from imig.errors import DataError
from imig.models.memory import release_gpu_memory
from imig.recipe.file import load_recipe
from imig.recipe.parts import Resources
from imig.schema import Manifest

SCENES = 32


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks run in this process, and nobody waits for neighbours on the card."""
    monkeypatch.setattr(engine, "run_blocks", run_in_process)
    monkeypatch.setattr(fitting, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(fitting, "release_gpu_memory", lambda: None)  # collecting takes a while


def plan_for(
    folder: Path, hungry: Hungry, *, asked: int | Literal["auto"] = 8, block: int = 8
) -> Plan:
    folder.mkdir(exist_ok=True)
    recipe = write_recipe(folder, scenes_per_shard=64)
    loaded = load_recipe(recipe, overrides=[f"engine.block_size={block}"])
    step = Step(hungry, Resources(batch_size=asked))
    return Plan(
        loaded=loaded,
        steps=(Step(Draw(SCENES)), step),
        models=(),
        scenes=SCENES,
        output=folder / "d",
    )


def output_of(plan: Plan) -> Path:
    assert isinstance(plan.output, Path)
    return plan.output


def run(plan: Plan) -> tuple[FinishedBuild | None, list[str]]:
    screen = io.StringIO()
    finished = engine.build(plan, Console(file=screen, width=200))
    return finished, screen.getvalue().splitlines()


def shards(plan: Plan) -> dict[str, str]:
    return {name: sha for name, sha in digests(output_of(plan)).items() if name.endswith(".tar")}


def used(manifest: Manifest) -> list[tuple[str, int | str, dict[int, int]]]:
    return [
        (one.stage, one.asked, {share.batch_size: share.scenes for share in one.used})
        for one in manifest.batch_sizes
    ]


def lines_about(screen: list[str], words: str) -> list[str]:
    return [line for line in screen if words in line]


def stop_after(monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
    """The next build is killed when so many blocks are finished."""

    def finish(
        folder: BuildFolder, numbers: Sequence[int], sizes: dict[str, FittingSize]
    ) -> Iterator[FinishedBlock | Snapshot]:
        done = 0
        for event in finish_blocks(folder, numbers, sizes):
            yield event
            done += isinstance(event, FinishedBlock)
            if done == blocks:
                raise KeyboardInterrupt

    monkeypatch.setattr(in_process, "finish_blocks", finish)


def test_batches_are_halved_and_the_build_goes_on(tmp_path: Path) -> None:
    plan = plan_for(tmp_path / "a", Hungry(memory=3, raise_on=[5]))
    finished, screen = run(plan)
    assert finished is not None
    counts = finished.manifest.counts
    assert (counts.input, counts.rejected, counts.quarantined) == (SCENES, 5, 1)
    assert used(finished.manifest) == [("filter", 8, {2: SCENES})]
    assert lines_about(screen, "out of GPU memory") == [
        "filter: out of GPU memory in batches of 8; goes on in batches of 2, as the manifest "
        "will say"
    ]
    assert lines_about(screen, "filter: batches") == [
        "filter: batches of 2 for 32 scenes (resources.batch_size: 8)"
    ]
    assert validate_dataset(output_of(plan)).faults == []
    asked = plan_for(tmp_path / "b", Hungry(memory=3, raise_on=[5]), asked=2)
    same, _ = run(asked)
    assert same is not None
    assert same.manifest.batch_sizes == []
    assert shards(asked) == shards(plan), "a block has one batch size from beginning to end"


def test_enough_memory_leaves_no_trace(tmp_path: Path) -> None:
    plan = plan_for(tmp_path / "a", Hungry(memory=8))
    finished, screen = run(plan)
    assert finished is not None
    assert finished.manifest.batch_sizes == []
    assert "batch_sizes" not in json.loads((output_of(plan) / "dataset.json").read_text())
    assert not lines_about(screen, "batches")


def test_a_run_that_goes_on_begins_with_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second block is large; those behind it would fit in batches of 8, and stay at 4."""
    appetites = dict.fromkeys(range(8, 16), 2)
    plan = plan_for(tmp_path / "a", Hungry(8, appetites))
    finished, _ = run(plan)
    assert finished is not None
    assert used(finished.manifest) == [("filter", 8, {8: 8, 4: 24})]
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            run(plan_for(tmp_path / "b", Hungry(8, appetites)))
    again = plan_for(tmp_path / "b", hungry := Hungry(8, appetites))
    resumed, screen = run(again)
    assert resumed is not None
    assert hungry.batches[0] == [16, 17, 18, 19]
    assert shards(again) == shards(plan)
    assert resumed.manifest == finished.manifest
    assert not lines_about(screen, "out of GPU memory"), "it has been said"


def test_a_scene_too_large_alone_is_set_aside_and_its_neighbours_keep_their_batches(
    tmp_path: Path,
) -> None:
    plan = plan_for(tmp_path / "a", hungry := Hungry(8, {10: 9}))
    finished, screen = run(plan)
    assert finished is not None
    assert finished.manifest.counts.quarantined == 1
    [(sample_id, error)] = quarantine(output_of(plan))
    assert sample_id == "basic-00000010"
    assert error == (
        "OutOfMemoryError: the GPU's memory is too small for this scene, though it was alone: CUDA "
        "out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.52 GiB of "
        "which 1.12 GiB is free."
    )
    assert hungry.batches.count([10]) == 3, "in its turn, and twice alone"
    assert [8, 9, 11, 12, 13, 14, 15] in hungry.batches
    assert used(finished.manifest) == []
    assert not lines_about(screen, "out of GPU memory in")


def quarantine(folder: Path) -> list[tuple[str, str]]:
    """Ids, and errors."""
    table = pd.read_parquet(folder / "quarantine.parquet")
    return list(zip(table["id"], table["error"], strict=True))


@pytest.mark.parametrize("block", [1, 8])
def test_a_model_too_large_for_any_scene_ends_the_build(tmp_path: Path, block: int) -> None:
    plan = plan_for(tmp_path / "a", Hungry(0), block=block)
    with pytest.raises(DataError) as caught:
        run(plan)
    assert caught.value.message.startswith(
        "stage filter: the GPU's memory is too small for its model and a single scene: CUDA out of"
    )
    assert "offload" in caught.value.cure
    assert not list((output_of(plan) / ".build" / "parts").glob("*.json")), "nobody is given up"
    finished, _ = run(plan_for(tmp_path / "a", Hungry(8), block=block))
    assert finished is not None
    assert finished.manifest.counts.quarantined == 0


def test_memory_that_fits_each_scene_and_never_all_ends_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a neighbour on the card makes it, which takes the memory again and again."""
    plan = plan_for(tmp_path / "a", Hungry(8))
    monkeypatch.setattr(fitting, "_fits", lambda attempt, size: False)
    with pytest.raises(DataError, match="fit one by one"):
        run(plan)


def test_auto_begins_with_a_block_and_the_record_says_what_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(tmp_path / "a", hungry := Hungry(5), asked="auto", block=16)
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        with pytest.raises(KeyboardInterrupt):
            run(plan)
    assert [len(one) for one in hungry.batches[:4]] == [16, 8, 4, 4]
    path = output_of(plan) / ".build" / "batch_sizes.json"
    assert json.loads(path.read_text()) == {"filter": 4}
    again = plan_for(tmp_path / "a", hungry := Hungry(99), asked="auto", block=16)
    finished, _ = run(again)
    assert finished is not None
    assert {len(one) for one in hungry.batches} == {4}, "not looked for again"
    assert used(finished.manifest) == [("filter", "auto", {4: SCENES})]
    whole, screen = run(plan_for(tmp_path / "b", Hungry(99), asked="auto", block=16))
    assert whole is not None
    assert used(whole.manifest) == [("filter", "auto", {16: SCENES})]
    assert lines_about(screen, "fit into")


def test_a_damaged_record_of_sizes_is_named(tmp_path: Path) -> None:
    plan = plan_for(tmp_path / "a", Hungry(8))
    path = output_of(plan) / ".build" / "batch_sizes.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"filter": 0}')
    (path.parent / "lock").touch()
    with pytest.raises(DataError, match=r"batch_sizes\.json cannot be read") as caught:
        run(plan)
    assert "remove" in caught.value.cure


@pytest.mark.parametrize("asked", ["auto", "6"])
def test_a_family_from_outside_is_given_smaller_batches(
    tmp_path: Path, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way from the recipe: plan, weights, loading, stage, record."""
    monkeypatch.setattr(fitting, "release_gpu_memory", release_gpu_memory)
    (tmp_path / "fits.txt").write_text("3")
    recipe = tmp_path / "hungry.yaml"
    recipe.write_text(
        "name: hungry\nsource: {kind: tabletop, count: 8, width: 64, height: 64}\n"
        "caption:\n  overwrite: true\n"
        f"  model: {{family: 'support.hungry_models:HungryCaptioner', weights: {tmp_path}}}\n"
        f"  resources: {{batch_size: {asked}}}\n"
    )
    plan = make_plan(load_recipe(recipe), output=tmp_path / "d")
    for step in plan.steps:
        step.stage.setup()
    finished, screen = run(plan)
    assert finished is not None
    size, said = (2, "batches of 2 fit") if asked == "auto" else (3, "in batches of 6; goes on in")
    assert used(finished.manifest) == [("caption", 6 if asked == "6" else "auto", {size: 8})]
    assert lines_about(screen, said)
    captions = [imig.Dataset(output_of(plan))[place].record.caption for place in range(8)]
    expected = [size] * 8 if size == 2 else [3] * 6 + [2] * 2
    assert captions == [f"a dog in one of {count} pictures" for count in expected]

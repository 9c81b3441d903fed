"""A build whose recipe has `duplicates`: near copies leave the shards at its end."""

from __future__ import annotations

import io
import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from support.engine_build import run_in_process
from support.engine_process import digests
from support.engine_stages import CONTEXT, Draw, Judge, make_test_plan, write_recipe

import imig.engine.build as engine
from imig import Dataset
from imig.checks.dataset import validate_dataset
from imig.duplicates.signing import NO_FEATURES
from imig.engine.plan import Plan, Step
from imig.recipe.parts import StageConfig
from imig.sample import Sample
from imig.shards.atomic import atomic_write
from imig.shards.features import FEATURES_MEMBER, features_to_bytes
from imig.stages.base import Stage

SCENES = 40


class Copy(Stage):
    """Scenes 8 to 15 and every fifth one look like scene 0; every fourth has the feature of 1."""

    name = "quality"

    def __init__(self, *, features: bool = False) -> None:
        super().__init__(StageConfig(), CONTEXT)
        self._features = features

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        for sample in samples:
            number = int(sample.scene.id[-8:])
            generator = np.random.default_rng(0 if number % 5 == 0 or 8 <= number < 16 else number)
            sample.scene.scores.perceptual_hash = generator.bytes(8).hex()
            if self._features:
                generator = np.random.default_rng(1 if number % 4 == 1 else number)
                data = features_to_bytes(generator.normal(size=64))
                sample.files[FEATURES_MEMBER] = data
        return samples


def make_plan(
    output: Path, folder: Path, *, duplicates: str, features: bool = False, hashes: bool = True
) -> Plan:
    recipe = write_recipe(folder, scenes_per_shard=8)
    recipe.write_text(f"{recipe.read_text()}duplicates: {duplicates}\n")
    plan = make_test_plan(output, recipe=recipe, scenes=SCENES, judge=Judge(raise_on=[5]))
    stages = [Step(Draw(SCENES)), *([Step(Copy(features=features))] if hashes else [])]
    return Plan(
        loaded=plan.loaded,
        steps=(*stages, *plan.steps[1:]),
        models=(),
        scenes=SCENES,
        output=output,
    )


def build(plan: Plan) -> str:
    screen = io.StringIO()
    with patch.object(engine, "run_blocks", run_in_process):
        engine.build(plan, Console(file=screen, width=120))
    return screen.getvalue()


def rejects(folder: Path) -> pd.DataFrame:
    frame = pd.read_parquet(folder / "rejects.parquet")
    return frame[frame.stage == "duplicates"]


def test_near_copies_become_rejects_and_all_adds_up(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "d", tmp_path, duplicates="{hash_distance: 0}")
    printed = build(plan)
    assert validate_dataset(tmp_path / "d").faults == []
    frame = rejects(tmp_path / "d")
    # 10 is turned down by the judge and 5 raises; the others look like scene 0.
    copies = {n for n in range(1, SCENES) if (n % 5 == 0 or 8 <= n < 16) and n % 7 != 3} - {5}
    assert [int(one[-8:]) for one in frame.id] == sorted(copies)
    figures = [json.loads(one) for one in frame.figures]
    assert figures[0] == {"of": "basic-00000000", "hash_distance": 0}
    assert set(frame.reason) == {"duplicate scene"}
    dataset = Dataset(tmp_path / "d")
    counts = dataset.manifest.counts
    assert counts.written == len(dataset) == 40 - 6 - 1 - len(copies)
    assert counts.written + counts.rejected + counts.quarantined == counts.input == SCENES
    # The second shard covers 8 to 15: nothing of it stayed.
    assert [one.name[-6:-4] for one in dataset.manifest.shards] == ["00", "02", "03", "04"]
    funnel = json.loads((tmp_path / "d" / "report.json").read_text())["stages"]
    assert funnel[-1]["stage"] == "duplicates"
    assert funnel[-1]["reasons"] == {"duplicate scene": len(copies)}
    assert funnel[-1]["passed"] == counts.written
    assert f"duplicate scene: {len(copies)}" in printed


def test_features_find_what_hashes_do_not(tmp_path: Path) -> None:
    text = "{hash_distance: null, similarity: 0.99}"
    build(make_plan(tmp_path / "d", tmp_path, duplicates=text, features=True))
    assert validate_dataset(tmp_path / "d").faults == []
    frame = rejects(tmp_path / "d")
    assert [int(one[-8:]) for one in frame.id] == [9, 13, 21, 25, 29, 33, 37]
    assert json.loads(frame.figures.iloc[0]) == {"of": "basic-00000001", "similarity": 1.0}
    assert Dataset(tmp_path / "d").manifest.skipped == []


def test_without_features_the_manifest_says_so(tmp_path: Path) -> None:
    text = "{hash_distance: null, similarity: 0.99}"
    build(make_plan(tmp_path / "d", tmp_path, duplicates=text))
    [skipped] = Dataset(tmp_path / "d").manifest.skipped
    assert (skipped.stage, skipped.reason) == ("duplicates", NO_FEATURES)


def test_a_hash_that_nobody_stored_is_computed(tmp_path: Path) -> None:
    build(make_plan(tmp_path / "d", tmp_path, duplicates="{hash_distance: 2}", hashes=False))
    assert validate_dataset(tmp_path / "d").faults == []
    # The pictures of the test's source are much alike.
    assert len(rejects(tmp_path / "d")) > 5


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the code under test catches it."""


@pytest.mark.parametrize("moment", range(12))
def test_killed_anywhere_the_same_command_finishes(tmp_path: Path, moment: int) -> None:
    undisturbed = make_plan(tmp_path / "whole", tmp_path, duplicates="{hash_distance: 0}")
    build(undisturbed)
    plan = make_plan(tmp_path / "d", tmp_path, duplicates="{hash_distance: 0}")
    writes = 0

    def dying_write(path: Path):  # type: ignore[no-untyped-def]
        nonlocal writes
        if path.name == "duplicates.json" or writes:
            writes += 1
        if writes > moment:
            raise Killed
        return atomic_write(path)

    places = ("imig.shards.atomic", "imig.shards.writer", "imig.shards.index")
    with pytest.raises(Killed):
        _run_with_patches(plan, places, dying_write)
    assert not (tmp_path / "d" / "dataset.json").exists()
    build(plan)
    assert digests(tmp_path / "d") == digests(tmp_path / "whole")
    assert not (tmp_path / "d" / ".build").exists()


def _run_with_patches(plan: Plan, places: tuple[str, ...], write: object) -> None:
    patches = [patch(f"{place}.atomic_write", write) for place in places]
    for one in patches:
        one.start()
    try:
        build(plan)
    finally:
        for one in patches:
            one.stop()

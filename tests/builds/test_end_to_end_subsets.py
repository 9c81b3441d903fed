"""The three subsets as a user builds them with the tiny models, and what is done with them then."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from support.commands import call, run

import imig
from imig.recipe.file import load_recipe
from imig.recipe.shipped import shipped_recipes
from imig.schema import Subset

SUBSETS: tuple[Subset, ...] = ("basic", "complex", "flexible")
SCENES = 8
BUILT = "IMIG_TEST_SUBSETS"
"""Names the folder where `make build-dataset SCENES=8` has just built them, as CI does."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a dataset a subset: those that the environment names, or built here."""
    built = os.environ.get(BUILT)
    if built:
        return Path(built)
    root = tmp_path_factory.mktemp("subsets")
    run("build", *SUBSETS, "--set", "models=tiny", "--limit", SCENES, "--output", root)
    return root


@pytest.mark.parametrize("subset", SUBSETS)
def test_each_subset_is_valid_and_has_the_views_that_it_promises(
    folder: Path, subset: Subset, tmp_path: Path
) -> None:
    assert call("validate", folder / subset).startswith("ok")
    dataset = imig.Dataset(folder / subset)
    assert len(dataset) >= SCENES // 2
    assert dataset.manifest.counts.input == SCENES
    assert dataset.manifest.counts.quarantined == 0
    expected = {"basic": {"crop"}, "complex": {"crop", "edit"}, "flexible": {"source"}}[subset]
    for scene in dataset:
        assert scene.source.kind == "prompt"
        assert scene.source.prompt == scene.caption
        assert scene.source.model.startswith("tabletop:tiny@")
        assert scene.scores.perceptual_hash is not None
        assert "features.npy" in scene.files
        for instance in scene.instances:
            assert {one.kind for one in instance.references} == expected
            assert instance.phrase in scene.caption
            for one in instance.references:
                assert one.mask is not None
                assert one.mask.any()
                assert one.similarity.dino is not None
    call("preview", dataset.ids[0], "--shards", folder / subset, "--out", tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as picture:
        assert min(picture.size) > 300


def test_edited_views_say_what_was_asked_for(folder: Path) -> None:
    instructions = set()
    for scene in imig.Dataset(folder / "complex"):
        for instance in scene.instances:
            edit = next(one for one in instance.references if one.kind == "edit")
            assert instance.phrase in edit.edit.instruction
            assert edit.similarity.clip is not None
            assert edit.coverage >= 0.6
            instructions.add(edit.edit.instruction.replace(instance.phrase, ""))
    assert len(instructions) > 2


def test_flexible_instances_are_their_references(folder: Path) -> None:
    for scene in imig.Dataset(folder / "flexible"):
        for instance in scene.instances:
            assert scene.subjects[instance.subject].phrase == instance.phrase
            assert instance.references[0].similarity.dino >= 0.82


def test_the_same_recipe_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    run("build", "flexible", "--set", "models=tiny", "--limit", SCENES, "--output", tmp_path / "f")
    (shard,) = (tmp_path / "f").glob("*.tar")
    assert shard.read_bytes() == (folder / "flexible" / shard.name).read_bytes()


def test_merged_split_and_refiltered_datasets_are_datasets(folder: Path, tmp_path: Path) -> None:
    parts = [imig.Dataset(folder / subset) for subset in SUBSETS]
    whole = tmp_path / "whole"
    call("merge", *(folder / subset for subset in SUBSETS), "--output", whole)
    assert call("validate", whole).startswith("ok")
    merged = imig.Dataset(whole)
    assert sorted(merged.ids) == sorted(one for part in parts for one in part.ids)
    assert set(merged.index["subset"]) == set(SUBSETS)

    call("split", whole, "--validation", "0.25", "--output", tmp_path / "halves")
    sides = [imig.Dataset(tmp_path / "halves" / name) for name in ("train", "validation")]
    assert sorted(sides[0].ids + sides[1].ids) == sorted(merged.ids)
    identities = [
        {instance.identity_id for scene in side for instance in scene.instances} for side in sides
    ]
    assert not identities[0] & identities[1]

    strict = tmp_path / "strict"
    call("refilter", folder / "flexible", "--set", "filter.dino=0.93", "--output", strict)
    assert call("validate", strict).startswith("ok")
    kept = imig.Dataset(strict)
    assert len(kept) <= len(parts[2])
    for scene in kept:
        assert all(one.references[0].similarity.dino >= 0.93 for one in scene.instances)
    counts = json.loads((strict / "dataset.json").read_text())["counts"]
    assert counts["written"] + counts["rejected"] + counts["quarantined"] == SCENES
    assert len(pd.read_parquet(strict / "rejects.parquet")) == counts["rejected"]


@pytest.mark.parametrize("name", sorted(set(SUBSETS)))
def test_the_full_recipe_loads_and_asks_for_full_models(name: str) -> None:
    recipe = load_recipe(name).recipe
    assert recipe.subset == name
    assert recipe.draw is not None
    assert recipe.draw.model.family == "flux"
    assert recipe.draw.resources.gpus > 0
    tiny = load_recipe(name, overrides=["models=tiny", "source.count=3"]).recipe
    assert tiny.draw is not None
    assert (tiny.draw.model.family, tiny.draw.model.weights) == ("tabletop", "tiny")
    assert tiny.draw.resources.gpus == 0
    assert tiny.source.kind == "prompts"
    assert tiny.source.count == 3
    assert name in shipped_recipes()

"""`datasets.load_dataset` reads a dataset folder as it lies, whole and streaming."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import yaml
from PIL import Image
from support.commands import call
from support.derived_datasets import make_scene, write_dataset
from support.tiny_dataset import write_tiny_dataset

import imig
from imig.sample import Sample
from imig.schema import Subset, scene_to_json
from imig.shards.card import split_name, write_split_card
from imig.shards.features import FEATURES_MEMBER, features_to_bytes
from imig.shards.hub_columns import Part, columns_to_features, hub_configurations
from imig.shards.index import shard_to_rows

SUBSETS: tuple[Subset, ...] = ("basic", "complex", "flexible")


def make_odd_samples() -> list[Sample]:
    """Of all subsets; the first five have other members than those that come later."""
    samples = [
        make_scene(number, subset=subset, things=2 if number < 5 else 3)
        for subset in SUBSETS
        for number in range(7)
    ]
    for sample in samples:
        sample.files[FEATURES_MEMBER] = features_to_bytes(np.arange(1, 9))
    odd = samples[1].scene
    odd.caption = 'Две «чашки»: 杯子\n"x", NULL'
    odd.instances[0].phrase = "чашка ☕"
    odd.scores.figures = {"of_a_package_of_my_own": 0.5}
    return samples


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return make_odd_samples()


@pytest.fixture(scope="module")
def folder(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("hub") / "Größe 1", samples)


def load(folder: Path, cache: Path, *names: str, streaming: bool) -> dict[str, list[Any]]:
    loaded = datasets.load_dataset(str(folder), *names, cache_dir=str(cache), streaming=streaming)
    return {split: list(rows) for split, rows in loaded.items()}


def pixels(picture: Image.Image, data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as stored:
        return picture.mode == stored.mode and picture.tobytes() == stored.tobytes()


def stated(value: Any) -> Any:
    """What a scene states, null being what it does not.

    Figures of stages from outside have no column, as the page says.
    """
    if isinstance(value, dict):
        known = {key: stated(one) for key, one in value.items() if key != "figures"}
        return {key: one for key, one in known.items() if one is not None}
    return [stated(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streaming"])
def test_every_row_and_column_of_every_subset(
    folder: Path, samples: list[Sample], tmp_path: Path, *, streaming: bool
) -> None:
    loaded = load(folder, tmp_path, streaming=streaming)
    assert list(loaded) == ["train"]
    assert [row["__key__"] for row in loaded["train"]] == [one.scene.id for one in samples]
    members = {name for one in samples for name in one.files}
    for row, sample in zip(loaded["train"], samples, strict=True):
        assert next(iter(row)) == "target.jpg"
        assert set(row) == {*members, "json", "__key__", "__url__"}
        assert stated(row["json"]) == stated(sample.scene.model_dump(mode="json"))
        for name in members:
            data = sample.files.get(name)
            if data is None:
                assert row[name] is None
            elif name == FEATURES_MEMBER:
                assert np.array_equal(np.float16(row[name]), np.load(io.BytesIO(data)))
            else:
                assert pixels(row[name], data)


def test_a_subset_is_a_configuration(folder: Path, samples: list[Sample], tmp_path: Path) -> None:
    rows = load(folder, tmp_path, "complex", streaming=True)["train"]
    ids = [one.scene.id for one in samples if one.scene.subset == "complex"]
    assert [row["__key__"] for row in rows] == ids
    assert rows[-1]["json"]["instances"][0]["phrase"] == "a red ball"


def test_both_sides_of_a_split_are_splits(
    folder: Path, samples: list[Sample], tmp_path: Path
) -> None:
    call("split", folder, "--validation", "0.3", "--output", tmp_path / "s")
    loaded = load(tmp_path / "s", tmp_path / "cache", streaming=False)
    there = {side: imig.Dataset(tmp_path / "s" / side).ids for side in ("train", "validation")}
    assert {side: [row["__key__"] for row in rows] for side, rows in loaded.items()} == there
    assert sorted(one for ids in there.values() for one in ids) == sorted(
        one.scene.id for one in samples
    )
    one_side = load(tmp_path / "s" / "validation", tmp_path / "cache", streaming=True)
    assert {side: len(rows) for side, rows in one_side.items()} == {
        "validation": len(there["validation"])
    }
    assert not imig.validate(tmp_path / "s" / "validation").faults


def test_a_card_of_somebody_else_in_the_folder_of_a_split_stays(
    folder: Path, tmp_path: Path
) -> None:
    part = Part(folder, imig.Dataset(folder).manifest, [], "train", prefix="train/")
    (tmp_path / "README.md").write_text("---\ntags: [mine]\n---\n# Mine\n")
    write_split_card(tmp_path, [part])
    assert (tmp_path / "README.md").read_text().endswith("# Mine\n")


def test_a_shard_that_is_missing_is_noticed(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        if path.is_file() and path.name != "complex-000001.tar":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(Exception, match=r"num_examples=7.*num_examples=4"):
        datasets.load_dataset(str(tmp_path), "complex", cache_dir=str(tmp_path / "cache"))


def test_the_features_are_those_that_the_package_itself_writes(folder: Path) -> None:
    _, front, _ = (folder / "README.md").read_text().split("---\n", 2)
    assert "&id" not in front  # anchors, which not every hub's parser follows
    for info in yaml.safe_load(front)["dataset_info"]:
        features = datasets.Features._from_yaml_list(info["features"])
        assert features._to_yaml_list() == info["features"]


def test_members_that_nobody_knows_are_bytes() -> None:
    features = columns_to_features(["json", "target.jpg", "encoded.safetensors", "ref00.webp"])
    kinds = {one["name"]: one.get("dtype", "struct") for one in features}
    assert list(kinds) == [
        "target.jpg", "json", "encoded.safetensors", "ref00.webp", "__key__", "__url__",
    ]  # fmt: skip
    assert (kinds["encoded.safetensors"], kinds["ref00.webp"]) == ("binary", "image")


def test_shards_whose_names_say_no_subset_are_listed(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "d")
    dataset = imig.Dataset(folder)
    rows = [row for path in sorted(folder.glob("*.tar")) for row in shard_to_rows(path)]
    manifest = dataset.manifest.model_copy(deep=True)
    for number, record in enumerate(manifest.shards):
        (folder / record.name).rename(folder / f"mine-{number}.tar")
        record.name = f"mine-{number}.tar"
    named = [replace(row, shard=row.shard.replace("basic-00000", "mine-")) for row in rows]
    part = Part(folder, manifest, named, split_name(manifest))
    (config,) = hub_configurations([part])["configs"]
    assert config["data_files"] == [{"split": "train", "path": ["mine-0.tar", "mine-1.tar"]}]


def test_an_empty_dataset_has_no_configurations(tmp_path: Path) -> None:
    manifest = imig.Dataset(write_tiny_dataset(tmp_path / "d")).manifest
    part = Part(tmp_path / "d", manifest.model_copy(update={"shards": []}), [], "train")
    assert hub_configurations([part]) == {}


def test_scenes_of_the_first_schema_load_too() -> None:
    """Their JSON lacks what was added later."""
    sample = make_scene(0)
    new = json.loads(scene_to_json(sample.scene))
    old = {key: value for key, value in new.items() if key != "subjects"} | {"schema_version": 1}
    features = datasets.Features._from_yaml_list(columns_to_features(["json"]))
    encoded = datasets.Features({"json": features["json"]}).encode_example({"json": old})
    assert encoded["json"]["subjects"] is None
    assert encoded["json"]["schema_version"] == 1

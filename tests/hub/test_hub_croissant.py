"""`croissant.json`, read by the package of those who made the format."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import mlcroissant as mlc
import pytest
from mlcroissant._src.operation_graph.operations import extract
from PIL import Image
from support.derived_datasets import make_scene, write_dataset
from support.tiny_dataset import write_tiny_dataset

import imig
from imig.sample import Sample
from imig.schema import Subset
from imig.stages.instances import reference_members

SUBSETS: tuple[Subset, ...] = ("basic", "complex")


def rename(sample: Sample, name: str) -> None:
    """The first reference of the scene, as one behind a hundred others is named."""
    reference = sample.scene.instances[0].references[0]
    before, files = reference.name, sample.files
    for member in reference_members(reference):
        files[member.replace(before, name)] = files.pop(member)
    assert reference.mask is not None
    reference.image = reference.image.replace(before, name)
    reference.mask = reference.mask.replace(before, name)
    reference.name = name


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    samples = [make_scene(number, subset=subset) for subset in SUBSETS for number in range(4)]
    samples[2].scene.caption = "Две чашки: 杯子"
    rename(samples[1], "ref100")
    return samples


@pytest.fixture(scope="module")
def folder(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("croissant") / "Größe 1", samples)


@pytest.fixture
def described(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> mlc.Dataset:
    # It unpacks shards into a cache by their names, which are the same in every dataset.
    monkeypatch.setattr(extract, "EXTRACT_PATH", type(extract.EXTRACT_PATH)(tmp_path))
    return mlc.Dataset(jsonld=str(folder / "croissant.json"))


def plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def test_it_is_valid_and_names_every_file(described: mlc.Dataset, folder: Path) -> None:
    metadata = described.metadata
    assert not metadata.ctx.issues.errors
    assert metadata.ctx.is_v1_1()
    recommended = [one for one in metadata.ctx.issues.warnings if "recommended" not in one]
    assert recommended == []  # a citation, a date and a version are for the owner to give
    manifest = imig.Dataset(folder).manifest
    listed = {one.content_url: one.sha256 for one in metadata.file_objects}
    assert listed == {
        "index.parquet": manifest.index_sha256,
        **{record.name: record.sha256 for record in manifest.shards},
    }


def test_the_scenes_are_read_from_the_index(described: mlc.Dataset, samples: list[Sample]) -> None:
    records = list(described.records("scenes"))
    assert [plain(one["scenes/id"]) for one in records] == [one.scene.id for one in samples]
    for record, sample in zip(records, samples, strict=True):
        scene = sample.scene
        assert plain(record["scenes/caption"]) == scene.caption
        assert (record["scenes/width"], record["scenes/height"]) == (scene.width, scene.height)
        assert list(map(plain, record["scenes/phrases"])) == [one.phrase for one in scene.instances]
        assert record["scenes/boxes"] == [list(one.box) for one in scene.instances]


def test_every_member_of_the_shards_is_a_record(
    described: mlc.Dataset, samples: list[Sample]
) -> None:
    read: dict[tuple[str, str], Image.Image] = {}
    for name in ("reference_pictures", "reference_masks", "face_pictures"):
        suffix = ".mask.png" if name == "reference_masks" else ""
        for one in described.records(name):
            scene, view = plain(one[f"{name}/scene"]), plain(one[f"{name}/name"])
            member = f"{view}{suffix or ('.png' if view.startswith('face') else '.jpg')}"
            read[scene, member] = one[f"{name}/picture"]
    for one in described.records("pictures"):
        read[plain(one["pictures/scene"]), "target.jpg"] = one["pictures/picture"]
    stored = {(one.scene.id, name): data for one in samples for name, data in one.files.items()}
    assert read.keys() == stored.keys()
    for place, data in stored.items():
        assert read[place].tobytes() == Image.open(io.BytesIO(data)).tobytes()


def test_annotations_are_the_scenes(described: mlc.Dataset, samples: list[Sample]) -> None:
    read = {
        plain(one["annotations/scene"]): json.loads(one["annotations/record"])
        for one in described.records("annotations")
    }
    assert read == {one.scene.id: one.scene.model_dump(mode="json") for one in samples}


def test_only_what_is_there_is_described(tmp_path: Path) -> None:
    sample = make_scene(0)
    sample.scene.instances[0].references.pop()  # the face
    del sample.files["face00.png"]
    folder = write_dataset(tmp_path / "d", [sample])
    described = mlc.Dataset(jsonld=str(folder / "croissant.json"))
    names = {one.id for one in described.metadata.record_sets}
    assert names == {"scenes", "pictures", "annotations", "reference_pictures", "reference_masks"}


def test_an_older_dataset_without_one_is_whole(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "d")
    assert not (folder / "croissant.json").exists()
    assert not imig.validate(folder).faults


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:100], "cannot be read: JSONDecodeError"),
        (lambda text: "[]", "cannot be read: TypeError"),
        (lambda text: '{"distribution": [1]}', "cannot be read: TypeError"),
        (lambda text: "[" * 100_000, "cannot be read: "),
        (lambda text: text.replace('"basic-000000.tar"', '"other.tar"'), "differ in basic-000000"),
        (lambda text: text.replace('"sha256": "', '"sha256": "0'), "differ in basic-000000"),
    ],
    ids=["truncated", "a list", "numbers", "nested", "another file", "another checksum"],
)
def test_one_that_is_wrong_is_a_fault(tmp_path: Path, folder: Path, change: Any, said: str) -> None:
    for path in folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    text = (folder / "croissant.json").read_text()
    (tmp_path / "croissant.json").write_text(change(text))
    (fault,) = imig.validate(tmp_path).faults
    assert fault.kind == "bad-croissant"
    assert said in fault.message

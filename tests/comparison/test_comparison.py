"""`imig diff`: every kind of change is found, and what cannot differ is not read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from support.tiny_dataset import make_sample, make_samples, seal, write_tiny_dataset

import imig
from imig.cli import main
from imig.comparison.scenes import Limits, compare_scenes
from imig.errors import DataError
from imig.layout.masks import mask_to_rle, rle_to_mask
from imig.sample import Sample
from imig.schema import Derivation, ModelRecord
from imig.shards.dataset import Dataset
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.manifest import MANIFEST_NAME, read_manifest, write_manifest
from imig.shards.writer import write_tar
from imig.stages.instances import keep_instances


def write(folder: Path, samples: list[Sample], *, per_shard: int = 3) -> Path:
    shards = {
        f"basic-{start:06d}.tar": samples[start : start + per_shard]
        for start in range(0, len(samples), per_shard)
    }
    seal(folder, shards, {name: write_tar(folder / name, some) for name, some in shards.items()})
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_tiny_dataset(tmp_path / "a")


def test_equal_datasets_are_compared_without_a_shard(dataset: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "b"))
    for shard in (*dataset.glob("*.tar"), *copy.glob("*.tar")):
        shard.unlink()
    found = imig.diff(dataset, copy)
    assert (found.differ, found.equal, found.read) == (False, 6, 0)
    assert main(["diff", str(dataset), str(copy)]) == 0


def _shift_box(sample: Sample) -> None:
    sample.scene.instances[0].box = (0, 0, 40, 40)


def _cut_mask(sample: Sample) -> None:
    one = sample.scene.instances[0]
    assert one.mask is not None
    mask = rle_to_mask(one.mask)
    mask[: mask.shape[0] // 3] = False
    one.mask, one.area = mask_to_rle(mask), int(mask.sum())


def _forget_mask(sample: Sample) -> None:
    sample.scene.instances[0].mask = sample.scene.instances[0].area = None


def _set(where: str, field: str, value: object) -> Callable[[Sample], None]:
    def change(sample: Sample) -> None:
        owner: object = sample.scene
        for name in where.split(".") if where else ():
            owner = owner[int(name)] if name.isdecimal() else getattr(owner, name)  # type: ignore[index]
        setattr(owner, field, value)

    return change


def _put(member: str, data: bytes) -> Callable[[Sample], None]:
    return lambda sample: sample.files.update({member: data})


def _replace(member: str, other: str) -> Callable[[Sample], None]:
    return lambda sample: sample.files.update({member: sample.files[other]})


CHANGES: dict[str, tuple[Callable[[Sample], None], str, str]] = {
    "caption": (_set("", "caption", "Zwei Bälle, 三"), "captions", "caption"),
    "phrase": (_set("instances.1", "phrase", "a ball"), "phrases", "instances[1].phrase"),
    "box": (_shift_box, "boxes", "instances[0].box"),
    "mask": (_cut_mask, "masks", "instances[0].mask"),
    "no-mask": (_forget_mask, "masks", "instances[0].mask"),
    "score": (_set("scores", "sharpness", 0.5), "scores", "scores.sharpness"),
    "view-score": (
        _set("instances.0.references.0.similarity", "dino", 0.1),
        "scores",
        "instances[0].references[0].similarity.dino",
    ),
    "model": (
        _set("instances.0.grounding", "model", "other:x@1"),
        "models",
        "instances[0].grounding.model",
    ),
    "caption-model": (_set("", "caption_model", "m:w@1"), "models", "caption_model"),
    "source": (_set("source", "path", "x.jpg"), "sources", "source.path"),
    "subject-box": (
        _set("instances.0.references.0", "subject_box", (0, 0, 1, 1)),
        "references",
        "instances[0].references[0].subject_box",
    ),
    "target": (_replace("target.jpg", "ref00.jpg"), "targets", "target.jpg"),
    "reference": (_replace("ref01.jpg", "ref00.jpg"), "references", "ref01.jpg"),
    "reference-mask": (
        _replace("ref01.mask.png", "ref00.mask.png"),
        "references",
        "ref01.mask.png",
    ),
    "encoding": (_put(ENCODED_MEMBER, b"1"), "members", ENCODED_MEMBER),
    "layers": (_set("", "layer_order", [1, 0]), "arrangement", "layer_order[0]"),
    "seed": (_set("", "seed", 5), "other", "seed"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found_with_its_kind_and_place(
    dataset: Path, tmp_path: Path, name: str
) -> None:
    change, kind, place = CHANGES[name]
    samples = make_samples()
    change(samples[4])
    found = imig.diff(dataset, write(tmp_path / "b", samples))
    assert found.differ
    assert (found.changed, found.equal, found.read) == ([samples[4].scene.id], 5, 3)
    assert list(found.tallies) == [kind]
    (scene,) = found.details
    assert scene.changes[0].place == place
    assert not found.settings


def test_a_removed_instance_is_no_change_of_those_behind_it(dataset: Path, tmp_path: Path) -> None:
    samples = make_samples()
    keep_instances(samples[5], [0, 2])
    found = imig.diff(dataset, write(tmp_path / "b", samples))
    assert list(found.tallies) == ["instances", "arrangement"]
    first = found.details[0].changes[0]
    assert (first.place, first.before, first.after) == ("instances[1]", "a blue ball", None)


def test_instances_of_other_identities_are_matched_by_their_boxes() -> None:
    one, other = make_sample(0).scene, make_sample(0).scene
    for instance in other.instances:
        instance.identity_id += "-again"
    other.instances[2].noun = "cup"
    kinds = [(change.kind, change.place) for change in compare_scenes(one, other, Limits())]
    assert kinds == [
        ("instances", "instances[2]"),
        ("instances", "instances[2]"),
        ("other", "instances[0].identity_id"),
        ("other", "instances[1].identity_id"),
    ]


def test_what_is_near_enough_is_equal(dataset: Path, tmp_path: Path) -> None:
    samples = make_samples()
    samples[0].scene.scores.sharpness = 0.0205
    x1, y1, x2, y2 = samples[0].scene.instances[0].box
    samples[0].scene.instances[0].box = (x1, y1, x2 + 1, y2)
    other = write(tmp_path / "b", samples)
    found = imig.diff(dataset, other)
    assert found.tallies["boxes"].min_iou == pytest.approx(40 / 41)
    assert found.tallies["scores"].max_difference == pytest.approx(0.0005)
    assert not imig.diff(dataset, other, tolerance=0.001, min_iou=0.97).differ
    words = ["diff", str(dataset), str(other)]
    assert main(words) == 1
    assert main([*words, "--tolerance", "0.001", "--iou", "0.97"]) == 0


def test_scenes_come_and_go_however_shards_are_cut(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = [make_sample(7), *reversed(make_samples()[1:])]
    other = write(tmp_path / "b", samples, per_shard=2)
    found = imig.diff(dataset, other)
    assert (found.added, found.removed) == (["basic-00000007"], ["basic-00000000"])
    assert (found.equal, found.changed, found.reordered) == (5, [], True)
    counts = {"input", "written"}
    assert not counts & {one.key for one in found.settings}  # six scenes in both
    assert main(["diff", str(dataset), str(other), "--json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["added"], shown["scenes"]["equal"]) == (["basic-00000007"], 5)


def test_what_the_manifests_say(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "b"))
    manifest = read_manifest(copy / MANIFEST_NAME)
    manifest.recipe = {"name": "tiny", "filter": {"dino": 0.9}}
    manifest.models.insert(0, ModelRecord(family="sam2", weights="w[red]", revision="12"))
    manifest.packages["numpy"] = "0"
    write_manifest(copy / MANIFEST_NAME, manifest)
    assert main(["diff", str(dataset), str(copy)]) == 1
    out = capsys.readouterr().out
    assert "recipe.filter.dino  none -> 0.9\n" in out
    assert "models.sam2 w[red]  none -> 12\n" in out
    assert "no difference by itself: numpy" in out
    manifest.recipe, manifest.models = {"name": "tiny"}, manifest.models[1:]
    write_manifest(copy / MANIFEST_NAME, manifest)
    assert main(["diff", str(dataset), str(copy)]) == 0
    capsys.readouterr()
    manifest.derived = [Derivation(operation="merge", settings={"name": "x"})]
    write_manifest(copy / MANIFEST_NAME, manifest)
    assert main(["diff", str(dataset), str(copy)]) == 1
    out = capsys.readouterr().out
    assert "derived[0].operation      none -> merge\nderived[0].settings.name  none -> x\n" in out


def test_only_as_many_scenes_as_asked_for_are_listed(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = make_samples()
    for sample in samples:
        sample.scene.caption = "\x1b[2J a\nb"
    other = write(tmp_path / "b", samples)
    assert main(["diff", str(dataset), str(other), "--scenes", "2"]) == 1
    out = capsys.readouterr().out
    assert out.count("basic-0000000") == 2
    assert "4 more scenes changed: --scenes N lists more" in out
    assert r"\x1b[2J a\nb" in out
    assert len(imig.diff(dataset, other, scenes=0).changed) == 6


def test_records_alone_and_from_a_store(dataset: Path, tmp_path: Path) -> None:
    samples = make_samples()
    CHANGES["target"][0](samples[0])
    other = write(tmp_path / "b", samples)
    store = MemoryFileSystem()
    store.put(str(other), "/diff-b", recursive=True)
    try:
        assert imig.diff(dataset, "memory://diff-b").changed == ["basic-00000000"]
        without = imig.diff(dataset, "memory://diff-b", pictures=False)
    finally:
        store.rm("/diff-b", recursive=True)
    assert (without.differ, without.equal, without.read) == (False, 6, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "there is no dataset folder"),
        (["A", "--iou", "1.5"], "'1.5' is not a share above 0 and up to 1"),
        (["A", "--tolerance", "nan"], "'nan' is not a number from 0 on"),
        (["A", "--scenes", "-1"], "'-1' is not a whole number from 0 on"),
        (["damaged"], "is damaged at byte"),
    ],
    ids=["nowhere", "iou", "tolerance", "scenes", "damaged"],
)
def test_trouble_is_no_difference(
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    damaged = write(tmp_path / "damaged", make_samples()[::-1])
    shard = next(iter(sorted(damaged.glob("*.tar"))))
    shard.write_bytes(b"\1" * shard.stat().st_size)
    names = {"A": dataset, "nowhere": tmp_path / "nowhere", "damaged": damaged}
    try:
        code = main(["diff", str(dataset), *(str(names.get(one, one)) for one in words)])
    except SystemExit as error:
        code = int(str(error.code))
    assert code == 2
    assert message in capsys.readouterr().err


def test_a_mask_that_is_none_names_its_scene(dataset: Path, tmp_path: Path) -> None:
    samples = make_samples()
    mask = samples[1].scene.instances[0].mask
    assert mask is not None
    mask.counts = "0" * 5
    other = write(tmp_path / "b", samples)
    with pytest.raises(DataError, match=r"basic-00000001.*run lengths"):
        imig.diff(dataset, other)
    assert len(Dataset(other)) == 6

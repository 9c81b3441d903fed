"""YOLO: out and in again, by boxes and by outlines; labels that are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support.coco_files import picture
from support.tiny_dataset import make_sample, seal, write_named

import imig
from imig.checks.dataset import validate_dataset
from imig.cli import main
from imig.errors import DataError, UsageError
from imig.interop import exporting
from imig.interop.exporting import export_dataset
from imig.interop.importing import import_dataset
from imig.layout.masks import mask_to_rle
from imig.sample import Sample
from imig.shards.tables import read_quarantine
from imig.shards.writer import write_tar
from imig.stages.base import BuildContext
from imig.stages.instances import set_instances
from imig.stages.source import SourceStage
from imig.stages.sources.config import YoloSource


def odd_samples() -> list[Sample]:
    """A name of two words, a hole with an island, a pixel, an instance without a mask, none."""
    plain, holed, unmasked, empty = (make_sample(number) for number in range(4))
    plain.scene.instances[0].noun = "Käsekuchen: 'süß' #1"
    mask = np.zeros((64, 96), dtype=bool)
    mask[2:30, 66:94], mask[6:26, 70:90], mask[10:20, 75:85], mask[40, 95] = 1, 0, 1, 1
    last = holed.scene.instances[2]
    last.mask, last.area, last.box = mask_to_rle(mask), int(mask.sum()), (66, 2, 96, 41)
    pixel = np.zeros((64, 96), dtype=bool)
    pixel[63, 0] = True
    last = plain.scene.instances[2]
    last.mask, last.area, last.box = mask_to_rle(pixel), 1, (0, 63, 1, 64)
    unmasked.scene.instances[0].mask = unmasked.scene.instances[0].area = None
    for sample in (plain, holed, unmasked, empty):
        keep = [] if sample is empty else sample.scene.instances
        set_instances(sample, keep, layer_order=[])
    empty.files = {"target.jpg": empty.files["target.jpg"]}
    return [plain, holed, unmasked, empty]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd") / "dataset"
    samples = odd_samples()
    folder.mkdir()
    shard = "basic-000000.tar"
    seal(folder, {shard: samples}, {shard: write_tar(folder / shard, samples)})
    return folder


@pytest.mark.parametrize("labels", ["segments", "boxes"])
def test_what_went_out_comes_back(dataset: Path, tmp_path: Path, labels: str) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    done = export_dataset(dataset, "yolo", output=out, overrides=[f"labels={labels}"])
    assert (done.scenes, done.files) == (4, 9)
    only = {
        "segments": {
            "boxes that are wider than their masks",
            "boxes without a mask, whose outline is written",
        },
        "boxes": {"masks"},
    }
    always = {"captions", "phrases, the noun is written", "references", "scores", "style"}
    assert set(done.losses.kinds) == only[labels] | always
    assert import_dataset(out, "yolo", output=back).losses.kinds == {}
    assert validate_dataset(back).faults == []
    before, after = imig.Dataset(dataset), imig.Dataset(back)
    assert after.ids == before.ids
    for one, other in zip(before, after, strict=True):
        assert other.files["target.jpg"] == one.files["target.jpg"]
        was = sorted(one.record.instances, key=lambda each: (each.box[0] + each.box[2], each.box))
        now = other.record.instances
        assert [each.noun for each in now] == [each.noun for each in was]
        assert len({each.phrase for each in now}) == len(now)
        for first, second in zip(was, now, strict=True):
            if labels == "boxes" or first.mask is None:
                assert second.box == first.box
            else:
                assert second.mask == first.mask


def test_labels_are_those_that_ultralytics_wants(dataset: Path, tmp_path: Path) -> None:
    export_dataset(dataset, "yolo", output=tmp_path, overrides=["split=val"])
    data = yaml.safe_load((tmp_path / "data.yaml").read_text("utf-8"))
    assert data == {
        "train": "images/val",
        "val": "images/val",
        "names": {0: "Käsekuchen: 'süß' #1", 1: "ball"},
    }
    for path in (tmp_path / "labels" / "val").iterdir():
        assert (tmp_path / "images" / "val" / path.name).with_suffix(".jpg").is_file()
        for line in path.read_text().splitlines():
            number, *shares = line.split()
            assert int(number) in data["names"]
            assert len(shares) >= 8  # no box among outlines
            assert all(0 <= float(one) <= 1 for one in shares)
    assert (tmp_path / "labels" / "val" / "basic-00000003.txt").read_bytes() == b""


def lay_together(folder: Path, other: Path) -> None:
    """As docs/formats.md says: pictures, labels, and the later side's data.yaml."""
    for name in ("images", "labels"):
        shutil.copytree(other / name, folder / name, dirs_exist_ok=True)
    shutil.copy(other / "data.yaml", folder / "data.yaml")


def test_two_sides_laid_together_come_back(tmp_path: Path) -> None:
    """Their nouns differ: the later side begins with the classes of the earlier one."""
    sides = {
        "train": {0: ["owl", "cup"], 1: ["zebra"]},
        "val": {2: ["ant", "zebra"], 3: ["cup"]},
        "test": {4: ["bee", "ant"]},
    }
    whole, earlier = tmp_path / "train", list[str]()
    for side, nouns in sides.items():
        dataset = write_named(tmp_path / f"{side}-shards", nouns)
        overrides = [f"split={side}", *earlier]
        export_dataset(dataset, "yolo", output=tmp_path / side, overrides=overrides)
        if side != "train":
            lay_together(whole, tmp_path / side)
        earlier = [f"classes={whole / 'data.yaml'}"]
    assert yaml.safe_load((whole / "data.yaml").read_text("utf-8")) == {
        **{side: f"images/{side}" for side in sides},
        "names": dict(enumerate(["cup", "owl", "zebra", "ant", "bee"])),
    }
    for side, nouns in sides.items():
        back = tmp_path / f"{side}-back"
        import_dataset(whole, "yolo", output=back, overrides=[f"split={side}"])
        assert {
            int(one.id[-8:]): sorted(each.noun for each in one.record.instances)
            for one in imig.Dataset(back)
        } == {number: sorted(its) for number, its in nouns.items()}


EARLIER: dict[str, tuple[str, dict[str, object]]] = {
    "a list of names": (
        "train: images/train\nval: images/train\nnames: [owl, dog]",
        {"train": "images/train", "names": {0: "owl", 1: "dog", 2: "ant"}},
    ),
    "numbers with a gap": ("names: {7: owl, 3: dog}", {"names": {3: "dog", 7: "owl", 8: "ant"}}),
    "a name twice": ("names: [owl, owl]", {"names": {0: "owl", 1: "owl", 2: "ant"}}),
    "none": ("names: {}", {"names": {0: "ant", 1: "owl"}}),
    "somebody's": (
        "path: ../d\ntrain: [a, 'b: c']\nnc: 1\ndownload: https://x\nnames: {0: no}",
        {"path": "../d", "train": ["a", "b: c"], "names": {0: "False", 1: "ant", 2: "owl"}},
    ),
    "another split": (
        "more: images/more\nnames: [owl]",
        {"more": "images/more", "names": {0: "owl", 1: "ant"}},
    ),
}


@pytest.mark.parametrize("case", EARLIER)
def test_classes_and_splits_of_an_earlier_file_stay(tmp_path: Path, case: str) -> None:
    text, expected = EARLIER[case]
    (tmp_path / "data.yaml").write_text(text)
    dataset = write_named(tmp_path / "shards", {0: ["owl", "ant"]})
    overrides = ["split=val", f"classes={tmp_path / 'data.yaml'}"]
    export_dataset(dataset, "yolo", output=tmp_path / "out", overrides=overrides)
    data = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text("utf-8"))
    assert data == {"train": "images/val", "val": "images/val", **expected}
    rows = (tmp_path / "out" / "labels" / "val" / "basic-00000000.txt").read_text().splitlines()
    assert [data["names"][int(row.split()[0])] for row in rows] == ["owl", "ant"]


NO_EARLIER: dict[str, tuple[bytes | None, str]] = {
    "not there": (None, "cannot read"),
    "no YAML": (b"{", "not YAML"),
    "no text": (b"\x80\x81\x00", "earlier.yaml"),
    "a list": (b"- a", "has no `names` of classes"),
    "COCO's": (b'{"categories": [{"id": 1, "name": "owl"}]}', "has no `names` of classes"),
    "classes by name": (b"names: {dog: 0}", "classes are numbered 0, 1, 2, .. in names"),
    "poses": (b"names: [a]\nkpt_shape: [17, 3]", "is of poses"),
}


@pytest.mark.parametrize("case", NO_EARLIER)
def test_what_is_no_file_of_classes_is_named(
    tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, words = NO_EARLIER[case]
    path = tmp_path / "earlier.yaml"
    if data is not None:
        path.write_bytes(data)
    dataset = write_named(tmp_path / "shards", {0: ["owl"]})
    command = ["export", "yolo", str(dataset), "--output", str(tmp_path / "out")]
    assert main([*command, "--set", f"classes={path}"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "data.yaml of an earlier `imig export yolo`" in said
    assert not (tmp_path / "out").exists()


def test_an_export_with_other_classes_is_another_one(tmp_path: Path) -> None:
    dataset = write_named(tmp_path / "shards", {0: ["owl"]})
    path, out = tmp_path / "data.yaml", tmp_path / "out"
    path.write_text("names: [dog]")
    overrides = [f"classes={path}"]
    export_dataset(dataset, "yolo", output=out, overrides=overrides)
    assert export_dataset(dataset, "yolo", output=out, overrides=overrides).finished_already
    path.write_text("names: [ant]")
    with pytest.raises(UsageError, match="holds another export: its inputs differ"):
        export_dataset(dataset, "yolo", output=out, overrides=overrides)
    own = [f"classes={out / 'data.yaml'}"]
    with pytest.raises(UsageError, match="which is read, lies in"):
        export_dataset(dataset, "yolo", output=out, overrides=own, overwrite=True)
    assert (out / "data.yaml").is_file()


def test_classes_that_change_meanwhile_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, path = write_named(tmp_path / "shards", {0: ["owl"]}), tmp_path / "data.yaml"
    path.write_text("names: [dog]")
    write_shards = exporting._write_shards

    def change(*arguments: Any, **options: Any) -> None:
        write_shards(*arguments, **options)
        path.write_text("names: [ant]")

    monkeypatch.setattr(exporting, "_write_shards", change)
    with pytest.raises(DataError, match="reads beside the dataset has changed meanwhile"):
        export_dataset(dataset, "yolo", output=tmp_path / "out", overrides=[f"classes={path}"])
    assert not (tmp_path / "out" / "data.yaml").exists()


def write_yolo(folder: Path, labels: str | None, *, data: str = "") -> Path:
    (folder / "images" / "train").mkdir(parents=True)
    (folder / "labels" / "train").mkdir(parents=True)
    (folder / "images" / "train" / "ä b.jpg").write_bytes(picture())
    if labels is not None:
        (folder / "labels" / "train" / "ä b.txt").write_text(labels)
    text = data or "path: ../datasets/mine\ntrain: images/train\nnames: [dog, hot_dog]\n"
    (folder / "data.yaml").write_text(text)
    return folder


def read(folder: Path) -> Sample:
    config = YoloSource(kind="yolo", path=str(folder), min_side=16)
    stage = SourceStage(config, BuildContext(recipe_seed=3, subset="basic"))
    (sample,) = stage(stage.enumerate(0, 1))
    return sample


ROWS: dict[str, tuple[str, list[tuple[int, int, int, int]], str]] = {
    "a box": ("0 0.5 0.5 0.25 0.5", [(60, 30, 100, 90)], ""),
    "an outline": ("1 0.25 0.25 0.5 0.25 0.5 0.5", [(40, 30, 80, 60)], ""),
    "a blank line": ("\n0 0.5 0.5 0.25 0.5\n\n", [(60, 30, 100, 90)], ""),
    "at the border": ("0 1.0 1.0 0.5 0.5", [(120, 90, 160, 120)], ""),
    "a pixel": ("0 0.003125 0.004166667 0.00625 0.008333333", [(0, 0, 1, 1)], ""),
    "no number": ("dog 0.5 0.5 0.25 0.5", [], "line 1: 'dog 0.5 0.5 0.25 0.5' is no row"),
    "no such class": ("7 0.5 0.5 0.25 0.5", [], "line 1: there is no class 7"),
    "half a class": ("0.5 0.5 0.5 0.25 0.5", [], "there is no class 0.5"),
    "pixels": ("0 50 50 25 50", [], "a number that is no share of the picture"),
    "NaN": ("0 nan 0.5 0.25 0.5", [], "a number that is no share of the picture"),
    "huge": ("0 1e999 0.5 0.25 0.5", [], "a number that is no share of the picture"),
    "with confidence": ("0 0.5 0.5 0.25 0.5 0.9", [], "5 numbers are neither a box nor"),
    "a class alone": ("0", [], "0 numbers are neither a box nor"),
    "no area": ("0 0.5 0.5 0 0", [], "it has no area"),
    "a good one beside": ("x\n0 0.5 0.5 0.25 0.5", [(60, 30, 100, 90)], "line 1: 'x' is no row"),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_of_labels(tmp_path: Path, case: str) -> None:
    labels, boxes, words = ROWS[case]
    sample = read(write_yolo(tmp_path / "yolo", labels))
    assert [one.box for one in sample.scene.instances] == boxes
    assert (sample.reject is None) == bool(boxes)
    assert [kind for kind, _ in sample.oddities] == ["annotation left out"] * bool(words)
    assert all(words in details for _, details in sample.oddities)


def test_labels_are_of_the_picture_as_it_is_seen(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "yolo", "0 0.25 0.25 0.5 0.5")
    (folder / "images" / "train" / "ä b.jpg").write_bytes(picture(lying=6))
    sample = read(folder)
    assert (sample.scene.width, sample.scene.height) == (120, 160)
    assert sample.scene.instances[0].box == (0, 0, 60, 80)


def test_a_picture_without_labels_shows_nothing(tmp_path: Path) -> None:
    for number, labels in enumerate((None, "", "\n")):
        folder = write_yolo(tmp_path / f"{number}", labels)
        sample = read(folder)
        assert sample.reject is not None
        assert sample.reject.reason == "too few annotations"
        done = import_dataset(folder, "yolo", output=tmp_path / f"back{number}")
        assert done.manifest.counts.written == 1


DATA: dict[str, tuple[str, str]] = {
    "no YAML": ("{", "not YAML"),
    "a list": ("- a", "does not say where pictures are"),
    "no classes": ("train: images/train", "names no classes"),
    "classes by name": ("train: images/train\nnames: {dog: 0}", "classes are numbered"),
    "poses": ("train: images/train\nnames: [a]\nkpt_shape: [17, 3]", "is of poses"),
    "no such split": ("val: images/train\nnames: [a]", "has no 'train'"),
    "not there": ("train: pictures\nnames: [a]", "pictures is not there"),
    "outside": ("train: /etc\nnames: [a]", "/etc leads out of its folder"),
    "above": ("train: ../../..\nnames: [a]", "leads out of its folder"),
    "a name that no file has": ('train: "a\\0b"\nnames: [a]', "leads out of its folder"),
    "half a character": ('train: "\\ud800"\nnames: [a]', "data.yaml:1: not YAML"),
    "no pictures": ("train: labels/train\nnames: [a]", "no pictures where 'train' says"),
}


@pytest.mark.parametrize("case", DATA)
def test_what_is_wrong_with_data_yaml_is_named(
    tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, words = DATA[case]
    folder = write_yolo(tmp_path / "yolo", "", data=text)
    assert main(["import", "yolo", str(folder), "--output", str(tmp_path / "back")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "back").exists()


LAYOUTS: dict[str, Callable[[Path], object]] = {
    "Roboflow's": lambda folder: (folder / "data.yaml").write_text(
        "train: ../images/train\nnames: {0: dog, 1: cat}\n"
    ),
    "a list of pictures": lambda folder: (
        (folder / "train.txt").write_text("./images/train/ä b.jpg\n"),
        (folder / "data.yaml").write_text("train: train.txt\nnames: [dog]\n"),
    ),
    "several folders": lambda folder: (folder / "data.yaml").write_text(
        "path: .\ntrain: [images, images/train]\nnames: [dog]\n"
    ),
    "another name": lambda folder: (folder / "data.yaml").rename(folder / "mine.yaml"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_peoples_layouts_are_found(tmp_path: Path, layout: str) -> None:
    folder = write_yolo(tmp_path / "yolo", "0 0.5 0.5 0.25 0.5")
    LAYOUTS[layout](folder)
    sample = read(folder)
    assert sample.scene.source.path == "images/train/ä b.jpg"
    assert [(one.phrase, one.box) for one in sample.scene.instances] == [("dog", (60, 30, 100, 90))]


def test_listed_pictures_that_are_not_there_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_yolo(tmp_path / "yolo", "0 0.5 0.5 0.25 0.5")
    (folder / "train.txt").write_text("./images/train/ä b.jpg\nimages/train/gone.jpg\n")
    (folder / "data.yaml").write_text("train: train.txt\nnames: [dog]\n")
    assert main(["import", "yolo", str(folder), "--output", str(tmp_path / "back")]) == 0
    remark = (
        "listed pictures that are not there, whose scenes are quarantined: 1 of 2 "
        "(images/train/gone.jpg)"
    )
    assert remark in capsys.readouterr().out.splitlines()
    report = json.loads((tmp_path / "back" / "report.json").read_text("utf-8"))
    assert report["source"] == [remark]


def test_damaged_pictures_and_labels_cost_themselves(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "yolo", "0 0.5 0.5 0.25 0.5")
    (folder / "images" / "train" / "none.jpg").write_bytes(b"no picture")
    (folder / "images" / "train" / "bytes.jpg").write_bytes(picture())
    (folder / "labels" / "train" / "bytes.txt").write_bytes(b"0 0.5 \xff\xfe\x00 0.25 0.5 \x81")
    done = import_dataset(folder, "yolo", output=tmp_path / "back")
    assert done.manifest.counts.written >= 1
    errors = {one.path: one.error for one in read_quarantine(tmp_path / "back")}
    assert "unreadable image" in errors["none"]
    assert validate_dataset(tmp_path / "back").faults == []


def test_too_many_pixels_name_the_setting_of_an_import(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "yolo", "0 0.5 0.5 0.25 0.5")
    output = tmp_path / "back"
    with pytest.raises(DataError, match=r"too many pixels: .* or raise --set max_pixels"):
        import_dataset(folder, "yolo", output=output, overrides=["max_pixels=19199"])
    done = import_dataset(folder, "yolo", output=tmp_path / "other", overrides=["max_pixels=19200"])
    assert done.manifest.counts.written == 1


def test_a_folder_without_data_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no data\.yaml"):
        import_dataset(tmp_path, "yolo", output=tmp_path.with_name("elsewhere"))

"""YOLO: out and in again, by boxes and by outlines; labels that are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from support.coco_files import picture
from support.tiny_dataset import make_sample, seal

import imig
from imig.checks.dataset import validate_dataset
from imig.cli import main
from imig.errors import UsageError
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


def test_a_folder_without_data_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no data\.yaml"):
        import_dataset(tmp_path, "yolo", output=tmp_path.with_name("elsewhere"))

"""COCO-MIG's published files, names of pictures, and references; what is wrong is named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imig.errors import DataError, UsageError
from imig.evaluation.against import open_against
from imig.evaluation.against.coco_mig import CocoMigCases, stem_to_key
from imig.evaluation.against.coco_mig_references import CATEGORIES_NAME

SAMPLE = Path(__file__).parents[1] / "data" / "coco-mig"


def test_a_case_has_its_labels_taken_apart_and_boxes_in_pixels() -> None:
    cases = list(CocoMigCases(SAMPLE / "mig_bench.json"))
    assert [(one.id, one.group) for one in cases] == [("0", "L2"), ("6", "L3"), ("12", "L2")]
    first = cases[0]
    assert first.caption == "a photo of a red mug and a blue toy car"
    assert first.size == (512, 512)
    car = first.instances[1]
    assert (car.phrase, car.noun, car.attributes) == (
        "a blue toy car",
        "toy car",
        {"colour": "blue"},
    )
    assert car.box == pytest.approx((0.55 * 512, 0.4 * 512, 0.95 * 512, 0.85 * 512))


@pytest.mark.parametrize(
    "name", ["mig_bench.txt", "mig_bench_anno.yaml", pytest.param(".", id="the folder")]
)
def test_both_published_forms_hold_the_same_cases(name: str) -> None:
    assert list(CocoMigCases(SAMPLE / name)) == list(CocoMigCases(SAMPLE / "mig_bench.json"))


def test_a_list_of_cases_is_numbered_by_place(tmp_path: Path) -> None:
    values = json.loads((SAMPLE / "mig_bench.json").read_text())
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(list(values.values())))
    cases = open_against(f"coco-mig={path}")
    assert [one.id for one in cases] == ["0", "1", "2"]
    assert cases.record()["cases"] == 3


def test_the_record_pins_every_file_that_is_read(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "copy")
    (tmp_path / "copy" / "mig_bench.json").unlink()
    before = CocoMigCases(tmp_path / "copy").record()
    assert set(before["files"]) == {"mig_bench.txt", "mig_bench_anno.yaml"}
    with (tmp_path / "copy" / "mig_bench_anno.yaml").open("a") as file:
        file.write("# changed\n")
    assert CocoMigCases(tmp_path / "copy").record() != before


@pytest.mark.parametrize(
    ("stem", "key"),
    [
        pytest.param("a photo of a red mug and a blue toy car_420_6", "6", id="MIGC's sampler"),
        pytest.param("anno_a photo of a red mug_420_6", None, id="with boxes drawn on"),
        pytest.param("0006", "6", id="ContextGen's sampler"),
        pytest.param("rerun0006", "6", id="ContextGen's, with a prefix"),
        pytest.param("6", "6", id="imig's"),
        pytest.param("6-42", "6", id="imig's, of a seed"),
        pytest.param("0006-1234", "6", id="four digits of a seed are no case"),
        pytest.param("x_12-7", "12", id="both"),
        pytest.param("preview", None, id="no number"),
        pytest.param("grid12", None, id="a number that is only a name's end"),
        pytest.param("a_b", None, id="an underscore without a number"),
    ],
)
def test_the_case_of_a_picture_by_its_name(stem: str, key: str | None) -> None:
    assert stem_to_key(stem) == key


def test_a_picture_of_no_case_has_none() -> None:
    cases = CocoMigCases(SAMPLE)
    assert (cases.case_of("0012"), cases.case_of("0013")) == ("12", None)


def without_caption(case: dict[str, Any]) -> None:
    del case["caption"]


def with_one_instance(case: dict[str, Any]) -> None:
    del case["segment"][1:]


def with_label(label: object) -> Callable[[dict[str, Any]], None]:
    def change(case: dict[str, Any]) -> None:
        case["segment"][1]["label"] = label

    return change


def with_box(box: object) -> Callable[[dict[str, Any]], None]:
    def change(case: dict[str, Any]) -> None:
        case["segment"][1]["bbox"] = box

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(without_caption, "case '6' has no caption", id="no caption"),
        pytest.param(with_one_instance, "case '6' has 1 instances", id="no level"),
        pytest.param(
            with_label("yellow duck"), "case '6', segment 1: the label 'yellow duck'",
            id="no article",
        ),
        pytest.param(with_label("a rad duck"), "segment 1: the label 'a rad duck'", id="no colour"),
        pytest.param(with_label(None), "segment 1: the label None", id="no label"),
        pytest.param(with_box([10, 10, 200, 300]), "segment 1: [10, 10, 200, 300]", id="pixels"),
        pytest.param(with_box([0.5, 0.2, 0.1, 0.4]), "is no box", id="corners out of order"),
        pytest.param(with_box([0.1, 0.2, 0.3]), "is no box", id="three numbers"),
        pytest.param(with_box([0.1, 0.2, 0.3, float("nan")]), "is no box", id="not a number"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_named(
    change: Callable[[dict[str, Any]], None], says: str, tmp_path: Path
) -> None:
    values = json.loads((SAMPLE / "mig_bench.json").read_text())
    change(values["6"])
    path = tmp_path / "mig_bench.json"
    path.write_text(json.dumps(values))
    with pytest.raises(UsageError) as error:
        CocoMigCases(path)
    assert str(path) in error.value.message
    assert says in error.value.message


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        pytest.param("mig_bench.json", '{"0": ', "mig_bench.json:1: not JSON", id="JSON cut off"),
        pytest.param("mig_bench.json", "{}", "no case in it", id="empty"),
        pytest.param("mig_bench.json", "3", "neither an object nor a list", id="a number"),
        pytest.param("mig_bench_anno.yaml", "a: ]", "mig_bench_anno.yaml:1: not YAML", id="YAML"),
        pytest.param("mig_bench_anno.yaml", "a: {}", "has no coco_id", id="no number"),
        pytest.param(
            "mig_bench_anno.yaml", "a: {coco_id: '1', a red cat: 7}", "'a red cat', box 0: None",
            id="no list of boxes",
        ),
        pytest.param("mig_bench.txt", "a", "mig_bench_anno.yaml with their boxes", id="txt alone"),
        pytest.param("mig_bench.csv", "a", "is no file of COCO-MIG", id="another ending"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named(name: str, text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=re.escape(says)):
        CocoMigCases(tmp_path / name)


def test_a_prompt_without_boxes_is_named(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "copy")
    with (tmp_path / "copy" / "mig_bench.txt").open("a") as file:
        file.write("\na photo of a red cat and a blue cat")
    with pytest.raises(UsageError, match=r"mig_bench\.txt:4: .* has no 'a photo of a red cat"):
        CocoMigCases(tmp_path / "copy" / "mig_bench.txt")


def make_pack(folder: Path, shapes: dict[str, list[tuple[int, int]]]) -> None:
    """A reference pack: of each label pictures of these sizes, half of each masked."""
    entries = []
    for name in ("reference_images", "reference_masks"):
        (folder / name).mkdir(parents=True)
    for index, (label, sizes) in enumerate(shapes.items()):
        numbers = [3 * place for place in range(len(sizes))]
        entries.append({"index": index, "caption": label, "available_mask_image": numbers})
        for number, size in zip(numbers, sizes, strict=True):
            stem = f"{index:04d}_{number:02d}_{label.replace(' ', '_')}"
            Image.new("RGB", size, (200, 20, 20)).save(folder / "reference_images" / f"{stem}.jpg")
            mask = np.zeros((size[1], size[0]), np.bool_)
            mask[: size[1] // 2] = True
            Image.fromarray(mask).save(folder / "reference_masks" / f"{stem}_mask.png")
    (folder / CATEGORIES_NAME).write_text(json.dumps(entries))


LABELS = ("a red mug", "a green cube", "a yellow duck", "a white lamp", "a black boat")


@pytest.mark.parametrize("inside", [True, False], ids=["beside the cases", "with the cases in it"])
def test_an_instance_gets_the_reference_whose_shape_is_nearest(
    inside: bool, tmp_path: Path
) -> None:
    pack = tmp_path / "cocomig_reference_pack" if inside else tmp_path
    square = {label: [(64, 64)] for label in LABELS}
    make_pack(pack, {"a blue toy car": [(40, 80), (80, 90), (120, 40)], **square})
    shutil.copy(SAMPLE / "mig_bench.json", tmp_path)
    cases = CocoMigCases(tmp_path)
    assert cases.record()["references"] is True
    # the car's box is 8 : 9
    (reference,) = next(iter(cases)).instances[1].references
    assert reference.name == "0000_03_a_blue_toy_car.jpg"
    image, mask = reference.read()
    assert mask is not None
    assert (image.size, mask.mean()) == ((80, 90), 0.5)


def test_the_file_of_the_cases_alone_has_no_references(tmp_path: Path) -> None:
    make_pack(tmp_path, {label: [(64, 64)] for label in LABELS})
    shutil.copy(SAMPLE / "mig_bench.json", tmp_path)
    cases = CocoMigCases(tmp_path / "mig_bench.json")
    assert all(not one.references for case in cases for one in case.instances)


def test_a_label_without_a_reference_and_a_lost_picture_are_named(tmp_path: Path) -> None:
    make_pack(tmp_path, {label: [(64, 64)] for label in LABELS})
    shutil.copy(SAMPLE / "mig_bench.json", tmp_path)
    with pytest.raises(DataError, match="no picture of 'a blue toy car'"):
        list(CocoMigCases(tmp_path))
    shutil.rmtree(tmp_path / "reference_images")
    with pytest.raises(DataError, match=r"0000_00_a_red_mug\.jpg, a reference"):
        list(CocoMigCases(tmp_path))

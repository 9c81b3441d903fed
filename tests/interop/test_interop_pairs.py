"""Lists of targets and references, in the forms that others publish, and damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imig
from imig.checks.dataset import validate_dataset
from imig.errors import DataError, ImigError
from imig.interop.importing import Imported, import_dataset
from imig.shards.tables import read_quarantine


def save(path: Path, size: tuple[int, int], colour: tuple[int, ...], **options: Any) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(path, **options)
    return path.read_bytes()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The pictures of two scenes."""
    folder = tmp_path / "Ünï code"
    save(folder / "targets/ä 1.jpg", (96, 64), (90, 120, 80))
    save(folder / "targets/2.png", (64, 64), (10, 20, 30))
    save(folder / "refs/duck.jpg", (30, 20), (200, 0, 0))
    cut_out = Image.new("RGBA", (24, 24), (0, 0, 200, 0))
    cut_out.paste((0, 0, 200, 255), (4, 4, 20, 22))
    cut_out.save(folder / "refs/cup.png")
    Image.fromarray(np.eye(20, 30) > 0).save(folder / "refs/duck-mask.png")
    return folder


RECORDS: list[dict[str, Any]] = [
    {
        "target": "targets/ä 1.jpg",
        "caption": "A red duck, ein „blauer“ Becher.",
        "references": [
            {"image": "refs/duck.jpg", "phrase": "red duck", "box": [0, 0, 48.4, 64]},
            {"image": "refs/cup.png", "phrase": "blue cup", "box": [95, 63, 96, 64]},
        ],
    },
    {"target": "targets/2.png", "caption": "", "references": []},
]


def write(root: Path, records: Any, *, name: str = "list.json") -> Path:
    path = root / name
    if name.endswith("l"):
        path.write_text("\n\n".join(json.dumps(one) for one in records), encoding="utf-8")
    else:
        path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    return path


def take(path: Path, output: Path, *overrides: str, workers: int = 1) -> Imported:
    return import_dataset(path, "pairs", output=output, overrides=overrides, workers=workers)


@pytest.mark.parametrize(("name", "workers"), [("list.json", 1), ("list.jsonl", 1), ("l.json", 2)])
def test_a_list_becomes_scenes(root: Path, tmp_path: Path, name: str, workers: int) -> None:
    done = take(write(root, RECORDS, name=name), tmp_path / "back", workers=workers)
    assert validate_dataset(tmp_path / "back").faults == []
    first, second = imig.Dataset(tmp_path / "back")
    assert first.record.caption == "A red duck, ein „blauer“ Becher."
    assert first.record.source.path == "targets/ä 1.jpg"
    assert [(one.phrase, one.noun, one.box) for one in first.record.instances] == [
        ("red duck", "duck", (0, 0, 48, 64)),
        ("blue cup", "cup", (95, 63, 96, 64)),
    ]
    duck, cup = (one.references[0] for one in first.instances)
    assert duck.record.kind == "source"
    assert duck.mask is not None
    assert duck.mask.all()
    assert cup.record.subject_box == (4, 4, 20, 22)
    # JPEGs are passed through.
    assert first.files["target.jpg"] == (root / "targets/ä 1.jpg").read_bytes()
    assert first.files["ref00.jpg"] == (root / "refs/duck.jpg").read_bytes()
    assert second.record.instances == []
    assert {kind: one.count for kind, one in done.losses.kinds.items()} == {
        "references without a mask: the whole picture is the subject": 1
    }


@pytest.mark.parametrize(
    ("overrides", "box", "expected"),
    [
        ([], [8, 16, 24, 32], (8, 16, 24, 32)),
        (["corners=xywh"], [8, 16, 24, 32], (8, 16, 32, 48)),
        (["units=relative"], [0.25, 0.5, 0.75, 1.0], (24, 32, 72, 64)),
        (["units=thousandths"], [250, 500, 750, 1000], (24, 32, 72, 64)),
        (["units=thousandths", "corners=xywh"], [250, 500, 500, 250], (24, 32, 72, 48)),
        ([], [10.2, 10.2, 10.4, 10.4], (10, 10, 11, 11)),
        ([], None, (0, 0, 96, 64)),
    ],
    ids=["pixels", "xywh", "relative", "thousandths", "thousandths-xywh", "one-pixel", "none"],
)
def test_boxes(
    root: Path, tmp_path: Path, overrides: list[str], box: Any, expected: tuple[int, ...]
) -> None:
    record = RECORDS[0] | {
        "references": [{"image": "refs/duck.jpg", "phrase": "duck", "box": box}],
    }
    take(write(root, [record]), tmp_path / "back", *overrides)
    (scene,) = imig.Dataset(tmp_path / "back")
    assert scene.record.instances[0].box == expected


def test_a_mapping_of_ones_own(root: Path, tmp_path: Path) -> None:
    """Lists beside each other, below other keys, as multi-reference lists have them."""
    record = {
        "output": {"files": ["targets/ä 1.jpg"]},
        "instruction": "draw them",
        "inputs": ["refs/duck.jpg", "refs/cup.png"],
        "meta": {
            "names": ["red duck", "blue cup"],
            "layout": [[0, 0, 500, 1000], [500, 0, 999, 9]],
        },
    }
    overrides = [
        "target=nothing|output.files.0",
        "caption=instruction",
        "references=inputs",
        "phrases=meta.names",
        "boxes=meta.layout",
        "units=thousandths",
    ]
    take(write(root, [record]), tmp_path / "back", *overrides)
    (scene,) = imig.Dataset(tmp_path / "back")
    assert [(one.phrase, one.box) for one in scene.record.instances] == [
        ("red duck", (0, 0, 48, 64)),
        ("blue cup", (48, 0, 96, 1)),
    ]


@pytest.mark.parametrize(("side", "target"), [("left", (200, 0, 0)), ("right", (0, 0, 200))])
def test_both_halves_of_one_picture(
    root: Path, tmp_path: Path, side: str, target: tuple[int, int, int]
) -> None:
    """Subjects200K: 512 pixels a side with 8 around; here 32 and 8."""
    picture = Image.new("RGB", (32 * 2 + 8 * 3, 32 + 16), (255, 255, 255))
    picture.paste((200, 0, 0), (8, 8, 40, 40))
    picture.paste((0, 0, 200), (48, 8, 80, 40))
    picture.save(root / "pair.png")
    record = {
        "image": "pair.png",
        "collection": "collection_2",
        "quality_assessment": {"compositeStructure": 5, "objectConsistency": 5, "imageQuality": 5},
        "description": {
            "item": "Eames Lounge Chair",
            "description_0": "The chair in a loft.",
            "description_1": "The chair on a terrace.",
            "category": "Furniture",
            "description_valid": True,
        },
    }
    done = take(write(root, [record]), tmp_path / "back", f"split={side}", "padding=8")
    (scene,) = imig.Dataset(tmp_path / "back")
    assert scene.record.caption == record["description"]["description_0"]  # type: ignore[index]
    assert scene.target.size == (32, 32)
    assert np.abs(np.asarray(scene.target).astype(int) - target).max() < 4
    (instance,) = scene.instances
    assert (instance.phrase, instance.noun) == ("Eames Lounge Chair", "Chair")
    assert instance.references[0].image.size == (32, 32)
    assert "halves of one picture, encoded anew" in done.losses.kinds
    assert validate_dataset(tmp_path / "back").faults == []


def _record(**changes: Any) -> dict[str, Any]:
    one = {"image": "refs/duck.jpg", "phrase": "duck", "box": [0, 0, 9, 9]}
    return {**RECORDS[0], "references": [{**one, **changes}]}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"target": "targets/none.jpg"}, "cannot read"),
        ({"target": "../../etc/passwd"}, "lies outside of"),
        ({"target": "/etc/passwd"}, "lies outside of"),
        ({"target": 7}, "has no target"),
        ({"target": "targets"}, "cannot read"),
        ({"target": "list.json"}, "list.json: "),
        ([1], "is a list, not an object"),
        (_record(image=["x"]), "has no reference 0"),
        (_record(phrase=""), "reference 0 has no noun phrase"),
        (_record(box=[0, 0, float("nan"), 9]), "is no list of four numbers"),
        (_record(box=[0, 0, 1e300, 9]), "is no list of four numbers"),
        (_record(box=[0, 0, 10**400, 9]), "is no list of four numbers"),
        (_record(box=[0, 0, True, 9]), "is no list of four numbers"),
        (_record(box="0 0 9 9"), "is no list of four numbers"),
        (_record(box=[9, 9, 3, 3]), "has no area"),
        (_record(box=[900, 900, 910, 910]), "lies outside of 96x64"),
        (_record(mask="targets/2.png"), "has 64x64 pixels, its picture 30x20"),
        ({**RECORDS[0], "references": 5}, "its references are a int"),
        ({**RECORDS[0], "references": [[]]}, "reference 0 is a list"),
        ({**RECORDS[0], "references": ["x"] * 10_000}, "10000 references; the most are 100"),
    ],
)
def test_damage_is_named_and_the_others_go_on(
    root: Path, tmp_path: Path, record: Any, message: str
) -> None:
    if isinstance(record, dict) and "references" not in record:
        record = {**RECORDS[0], **record}
    take(write(root, [record, RECORDS[1]]), tmp_path / "back")
    dataset = imig.Dataset(tmp_path / "back")
    assert len(dataset) == 1
    (one,) = read_quarantine(dataset.folder, counted=1)
    assert message in one.error
    assert "record 0" in one.error
    assert one.traceback == ""


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.json", '[{"target": "targets/2.png"}', "is no JSON"),
        ("list.json", "{}", "is a dict, not a list of records"),
        ("list.json", "[" * 100_000, "is no JSON"),
        ("list.json", "[]", "has no records"),
        ("list.jsonl", "\n", "has no records"),
        ("list.jsonl", '{"target": ', "is no JSON"),
    ],
)
def test_what_is_no_list_leaves_nothing(
    root: Path, tmp_path: Path, name: str, text: str, message: str
) -> None:
    (root / name).write_text(text)
    with pytest.raises(ImigError, match=message):
        take(root / name, tmp_path / "back")
    assert not (tmp_path / "back" / "dataset.json").exists()


def test_a_half_that_is_not_there(root: Path, tmp_path: Path) -> None:
    record = {"image": "targets/2.png", "description": {"item": "cup"}}
    with pytest.raises(DataError, match="no two halves with 30 pixels"):
        take(write(root, [record]), tmp_path / "back", "split=left", "padding=30")


def test_its_mask_is_taken(root: Path, tmp_path: Path) -> None:
    take(write(root, [_record(mask="refs/duck-mask.png")]), tmp_path / "back")
    (scene,) = imig.Dataset(tmp_path / "back")
    mask = scene.instances[0].references[0].mask
    assert mask is not None
    assert np.array_equal(mask, np.eye(20, 30) > 0)

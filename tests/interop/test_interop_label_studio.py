"""Label Studio: what its files look like, and hostile ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from support.annotation_tools import LabelStudioFile
from support.tiny_dataset import write_tiny_dataset

import imig
from imig.cli import main
from imig.errors import DataError, ImigError, UsageError
from imig.interop.brush import brush_to_mask, mask_to_brush
from imig.interop.exporting import export_dataset
from imig.interop.importing import import_dataset
from imig.interop.label_studio import _scene_of
from imig.layout.masks import Mask
from imig.shards.tables import read_quarantine

MASKS: dict[str, Mask] = {
    "nothing": np.zeros((3, 5), bool),
    "everything": np.ones((300, 400), bool),  # runs longer than the longest of a packet
    "one pixel": np.eye(1, 96 * 64, 96 * 64 - 1).astype(bool).reshape(64, 96),
    "noise": np.random.default_rng(0).random((37, 23)) > 0.5,
    "checks": np.indices((9, 9)).sum(axis=0) % 2 == 0,
}


@pytest.mark.parametrize("name", MASKS)
def test_brush_masks_are_the_same_to_the_bit(name: str) -> None:
    mask = MASKS[name]
    data = mask_to_brush(mask)
    assert all(isinstance(one, int) and 0 <= one < 256 for one in data)
    height, width = mask.shape
    assert (brush_to_mask(data, size=(width, height)) == mask).all()


def test_a_brush_mask_as_the_page_writes_it() -> None:
    """Coloured pixels are packets of single values; what is half transparent is outside."""
    pixels = [(255, 0, 0, 255), (255, 0, 0, 120), (0, 0, 0, 0), (9, 9, 9, 128)]
    values = [value for pixel in pixels for value in pixel]
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{one - 1:04b}" for one in (3, 4, 8, 16))
    bits += "0" + "01" + f"{12 - 1:04b}" + "".join(f"{one:08b}" for one in values[:12])
    bits += "1" + "00" + f"{3 - 1:03b}" + f"{9:08b}" + "0" + "00" + "000" + f"{128:08b}"
    bits += "0" * (-len(bits) % 8)
    data = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    assert brush_to_mask(data, size=(4, 1)).tolist() == [[True, False, False, True]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two scenes, and beside it `out`."""
    folder = tmp_path_factory.mktemp("label-studio")
    dataset = write_tiny_dataset(folder / "dataset", scenes=2)
    export_dataset(dataset, "label-studio", output=folder / "out")
    file = LabelStudioFile(folder / "out")
    file.save()
    return folder


def test_tasks_and_the_labelling_interface(exported: Path) -> None:
    tasks = json.loads((exported / "out" / "tasks.json").read_text())
    assert [one["data"]["image"] for one in tasks] == [
        "/data/local-files/?d=images/basic-00000000.jpg",
        "/data/local-files/?d=images/basic-00000001.jpg",
    ]
    results = tasks[0]["predictions"][0]["result"]
    assert [(one["id"], one["type"]) for one in results] == [
        ("box-0", "rectanglelabels"),
        ("mask-0", "brushlabels"),
        ("box-0", "textarea"),
        ("box-1", "rectanglelabels"),
        ("mask-1", "brushlabels"),
        ("box-1", "textarea"),
        ("caption", "textarea"),
    ]
    interface = ElementTree.fromstring((exported / "out" / "config.xml").read_text())
    controls = {one.get("name"): one for one in interface}
    assert {one["from_name"] for one in results} <= controls.keys()
    for name in ("box", "mask"):
        assert [one.get("value") for one in controls[name]] == ["ball"]


def test_settings_of_an_export(exported: Path, tmp_path: Path) -> None:
    settings = ["image_url=s3://bucket/{name}", "write=annotations", "shapes=masks"]
    export_dataset(exported / "dataset", "label-studio", output=tmp_path / "a", overrides=settings)
    (task, _) = json.loads((tmp_path / "a" / "tasks.json").read_text())
    assert task["data"]["image"] == "s3://bucket/basic-00000000.jpg"
    assert "predictions" not in task
    kinds = {one["type"] for one in task["annotations"][0]["result"]}
    assert kinds == {"brushlabels", "textarea"}
    with pytest.raises(UsageError, match=r"it needs \{name\}"):
        export_dataset(
            exported / "dataset", "label-studio", output=tmp_path / "b", overrides=["image_url=x"]
        )


def edited(exported: Path, tmp_path: Path, edit: Callable[[list[Any]], object]) -> Path:
    tasks = json.loads((exported / "out" / "tasks.json").read_text())
    edit(tasks)
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    return path


def test_which_annotation_counts(exported: Path, tmp_path: Path) -> None:
    def edit(tasks: list[Any]) -> None:
        latest, before, skipped = (
            json.loads(json.dumps(tasks[0]["annotations"][0])) for _ in "abc"
        )
        latest |= {"updated_at": "2026-11-21T08:00:00Z", "completed_by": 3}
        latest["result"][-1]["value"]["text"] = ["The latest."]
        before["result"][-1]["value"]["text"] = ["Before."]
        skipped |= {"updated_at": "2026-12-01T08:00:00Z", "was_cancelled": True}
        tasks[0]["annotations"] = [before, latest, skipped]
        tasks[1]["annotations"] = []

    source = edited(exported, tmp_path, edit)
    done = import_dataset(
        source, "label-studio", output=tmp_path / "back", overrides=[f"dataset={exported}/dataset"]
    )
    scene = imig.Dataset(tmp_path / "back")["basic-00000000"].record
    assert scene.caption == "The latest."
    assert [(one.by, one.at) for one in scene.corrections] == [("3", "2026-11-21T08:00:00Z")]
    assert {kind: one.count for kind, one in done.losses.kinds.items()} == {
        "further annotations of a task": 1,
        "scenes that nobody has worked on: they are as they were": 1,
    }


def test_what_else_may_be_drawn(exported: Path, tmp_path: Path) -> None:
    """Polygons become masks, turned boxes their bounds, relations hold box and mask together."""

    def edit(tasks: list[Any]) -> None:
        results = tasks[1]["annotations"][0]["result"]
        polygon = {"points": [[50, 80], [60, 80], [60, 95], [50, 95]], "polygonlabels": ["cup"]}
        turned = {"x": 10, "y": 90, "width": 10, "height": 5, "rotation": 90}
        results += [
            {"id": "p", "type": "polygonlabels", "value": polygon},
            {
                "id": "r",
                "type": "rectanglelabels",
                "value": {**turned, "rectanglelabels": ["tray"]},
            },
            {"id": "k", "type": "keypointlabels", "value": {"x": 1, "y": 1}},
            {"type": "relation", "from_id": "p", "to_id": "box-0"},
        ]

    source = edited(exported, tmp_path, edit)
    done = import_dataset(
        source, "label-studio", output=tmp_path / "back", overrides=[f"dataset={exported}/dataset"]
    )
    new = imig.Dataset(tmp_path / "back")["basic-00000001"].record.instances[3:]
    assert [(one.noun, one.box) for one in new] == [
        ("cup", (48, 51, 58, 61)),
        ("tray", (6, 58, 10, 64)),
    ]
    assert new[0].area == 100
    assert {"results of type keypointlabels", "rotations of boxes"} <= done.losses.kinds.keys()


def result(tasks: list[Any], number: int) -> Any:
    return tasks[0]["annotations"][0]["result"][number]


def change(number: int, **values: object) -> Callable[[list[Any]], object]:
    return lambda tasks: result(tasks, number)["value"].update(values)


SCENE_FAULTS: dict[str, tuple[Callable[[list[Any]], object], str]] = {
    "a side that is no number": (change(0, x="3"), "x is no number"),
    "a side that is NaN": (change(0, width=float("nan")), "width is no number: nan"),
    "a side beyond floats": (change(0, y=10**400), "y is no number: 1000"),
    "a rotation that is infinite": (change(0, rotation=float("inf")), "rotation is no number"),
    "a brush of another picture": (
        change(1, rle=mask_to_brush(np.ones((8, 8), bool))),
        "has 256 values, its picture 24576",
    ),
    "a brush that is cut off": (change(1, rle=[0, 0, 96, 0, 57]), "is cut off"),
    "a brush of no bytes": (change(1, rle=[1, 2, 999]), "no list of bytes"),
    "a brush of text": (change(1, rle="abc"), "without rle"),
    "another size": (
        lambda tasks: result(tasks, 1).update(original_width=97),
        "has 97x64 pixels, the scene 96x64",
    ),
    "no value": (lambda tasks: result(tasks, 0).pop("value"), "result 0 has no value"),
    "no id": (lambda tasks: result(tasks, 0).pop("id"), "result 0 has no id"),
    "no object": (
        lambda tasks: tasks[0]["annotations"][0]["result"].insert(0, 7),
        "result 0 is a int, not an object",
    ),
    "results that are no list": (
        lambda tasks: tasks[0]["annotations"][0].update(result={}),
        "result is a dict, not a list",
    ),
}


@pytest.fixture(scope="module")
def of_faults(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said of each fault: all in one dataset, a scene each."""
    folder = tmp_path_factory.mktemp("faults")
    dataset = write_tiny_dataset(folder / "dataset", scenes=len(SCENE_FAULTS) + 1)
    export_dataset(dataset, "label-studio", output=folder / "out")
    file = LabelStudioFile(folder / "out")
    for task, (plant, _) in zip(file.tasks, SCENE_FAULTS.values(), strict=False):
        plant([task])
    file.save()
    source = folder / "out" / "tasks.json"
    done = import_dataset(
        source, "label-studio", output=folder / "back", overrides=[f"dataset={dataset}"]
    )
    assert done.manifest.counts.written == 1
    return {one.id: one.error for one in read_quarantine(folder / "back")}


@pytest.mark.parametrize("fault", SCENE_FAULTS)
def test_a_fault_of_a_scene_is_named(of_faults: dict[str, str], fault: str) -> None:
    sample_id = f"basic-{list(SCENE_FAULTS).index(fault):08d}"
    assert of_faults[sample_id].startswith("DataError: ")
    assert SCENE_FAULTS[fault][1] in of_faults[sample_id]


@pytest.mark.parametrize(
    ("image", "scene"),
    [
        ("/data/local-files/?d=images/basic-00000007.jpg", "basic-00000007"),
        ("s3://bucket/folder/basic-00000007.jpg", "basic-00000007"),
        ("/data/upload/12/1a2b3c4d-basic-00000007.jpg", "basic-00000007"),
        ("/data/upload/12/1a2b3c4d-deadbeef-7.jpg", "deadbeef-7"),
        ("s3://bucket/deadbeef-7.jpg", "deadbeef-7"),
    ],
)
def test_a_picture_says_of_which_scene_it_is(image: str, scene: str) -> None:
    assert _scene_of({"data": {"image": image}}, place="task 0") == scene


def _twice(tasks: list[Any]) -> None:
    tasks.append(tasks[0])


def _json_min(tasks: list[Any]) -> None:
    tasks[0] = {"image": "x.jpg", "id": 1, "annotator": 1, "annotation_id": 3}


FILE_FAULTS: dict[str, tuple[Callable[[list[Any]], object], str]] = {
    "a task twice": (_twice, "two tasks of basic-00000000"),
    "the short export": (_json_min, "is of the export JSON-MIN"),
    "no data": (lambda tasks: tasks[1].pop("data"), "task 1 has no data"),
    "no picture": (lambda tasks: tasks[1].update(data={"image": 5}), "names neither a scene"),
    "no object": (lambda tasks: tasks.insert(0, []), "task 0 has no data"),
}


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_a_fault_of_the_file_is_named_before_anything_is_written(
    exported: Path, tmp_path: Path, fault: str
) -> None:
    plant, words = FILE_FAULTS[fault]
    source = edited(exported, tmp_path, plant)
    with pytest.raises(ImigError, match=words):
        import_dataset(
            source, "label-studio", output=tmp_path / "back",
            overrides=[f"dataset={exported}/dataset"],
        )  # fmt: skip
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("text", [b"", b"{}", b'[{"data": {"ima', b"[\xff]", b"[" * 100_000])
def test_a_file_that_is_no_list_of_tasks(exported: Path, tmp_path: Path, text: bytes) -> None:
    source = tmp_path / "export.json"
    source.write_bytes(text)
    with pytest.raises(DataError, match=r"export\.json is damaged near byte"):
        import_dataset(
            source, "label-studio", output=tmp_path / "back",
            overrides=[f"dataset={exported}/dataset"],
        )  # fmt: skip
    assert not (tmp_path / "back").exists()


def test_calls_are_named(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["import", "label-studio", str(exported / "out"), "--output", str(tmp_path / "b")]
    assert main([*arguments, "--set", f"dataset={exported}/dataset"]) == 2
    assert "is no file" in capsys.readouterr().err
    arguments[2] += "/tasks.json"
    assert main(arguments) == 2
    assert "--set dataset" in capsys.readouterr().err
    assert main([*arguments, "--set", f"dataset={tmp_path}/nowhere"]) == 2
    assert "there is no dataset folder" in capsys.readouterr().err

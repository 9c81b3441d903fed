"""Label Studio's own converter reads our masks, and we read its."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_studio_sdk.converter import Converter, brush
from pycocotools import mask as coco
from support.other_side import Imig, read_scenes


@pytest.fixture(scope="module")
def exported(imig: Imig, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("label-studio") / "out"
    imig("export", "label-studio", dataset, "--output", folder)
    return folder


def read_tasks(folder: Path) -> dict[str, dict[str, Any]]:
    tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    return {one["data"]["imig"]["id"]: one for one in tasks}


def test_its_converter_decodes_the_same_masks(exported: Path, dataset: Path) -> None:
    tasks, scenes = read_tasks(exported), read_scenes(dataset)
    assert tasks.keys() == scenes.keys()
    for sample_id, scene in scenes.items():
        results = tasks[sample_id]["predictions"][0]["result"]
        brushes = [one for one in results if one["type"] == "brushlabels"]
        # As `brush.decode_from_annotation` is called: a value's keys beside those of the result.
        layers = brush.decode_from_annotation("mask", [{**one, **one["value"]} for one in brushes])
        decoded = list(layers.values())
        for one, layer in zip(scene.record["instances"], decoded, strict=True):
            assert set(np.unique(layer)) <= {0, 255}
            assert (layer == 255 * coco.decode(one["mask"])).all()


def test_its_converter_knows_the_labelling_interface(exported: Path) -> None:
    converter = Converter(config=str(exported / "config.xml"), project_dir=None)
    controls = {
        name: (one["type"], one["to_name"], one["labels"])
        for name, one in converter._schema.items()
    }
    assert controls["box"] == ("RectangleLabels", ["image"], ["ball"])
    assert controls["mask"] == ("BrushLabels", ["image"], ["ball"])
    assert controls["phrase"][0] == controls["caption"][0] == "TextArea"


def test_masks_that_it_encodes_come_back_to_the_bit(
    exported: Path, imig: Imig, dataset: Path, tmp_path: Path
) -> None:
    tasks = read_tasks(exported)
    generator = np.random.default_rng(1)
    drawn: dict[str, np.ndarray] = {}
    for sample_id, task in tasks.items():
        results = task.pop("predictions")[0]["result"]
        task["annotations"] = [{"result": results, "completed_by": 5, "updated_at": "2026-11-20"}]
        drawn[sample_id] = generator.random((64, 96)) > 0.6
        first = next(one for one in results if one["type"] == "brushlabels")
        first["value"]["rle"] = brush.mask2rle(drawn[sample_id].astype(np.uint8) * 255)
    source = tmp_path / "export.json"
    source.write_text(json.dumps(list(tasks.values())))
    back = tmp_path / "back"
    imig("import", "label-studio", source, "--set", f"dataset={dataset}", "--output", back)
    imig("validate", back)
    for sample_id, scene in read_scenes(back).items():
        found = coco.decode(scene.record["instances"][0]["mask"]).astype(bool)
        assert (found == drawn[sample_id]).all()
        assert {one["by"] for one in scene.record["corrections"]} == {"5"}

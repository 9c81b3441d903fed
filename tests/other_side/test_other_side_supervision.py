"""YOLO's labels and COCO's annotations as supervision reads them.

Its rasteriser (OpenCV's) sets every pixel that an outline touches: what it makes of an outline has
up to a pixel more on each side, and the seams by which holes and parts hang together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import supervision
from numpy.typing import NDArray
from pycocotools import mask as coco
from support.other_side import Imig, StoredScene, read_scenes


def masks_of(scene: StoredScene) -> list[NDArray[np.bool_]]:
    return [coco.decode(one["mask"]).astype(bool) for one in scene.record["instances"]]


def widened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask and every pixel beside it, corners included."""
    height, width = mask.shape
    padded = np.pad(mask, 1)
    wide = np.zeros_like(mask)
    for down in range(3):
        for across in range(3):
            wide |= padded[down : down + height, across : across + width]
    return wide


def yolo(folder: Path, *, masks: bool) -> supervision.DetectionDataset:
    return supervision.DetectionDataset.from_yolo(
        images_directory_path=str(folder / "images" / "train"),
        annotations_directory_path=str(folder / "labels" / "train"),
        data_yaml_path=str(folder / "data.yaml"),
        force_masks=masks,
    )


def test_yolo_boxes(imig: Imig, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    imig("export", "yolo", dataset, "--set", "labels=boxes", "--output", out)
    found = yolo(out, masks=False)
    assert found.classes == ["ball"]
    scenes = read_scenes(dataset)
    assert len(found) == len(scenes) == 5
    for path, _, detections in found:
        scene = scenes[Path(path).stem]
        boxes = [one["box"] for one in scene.record["instances"]]
        assert detections.xyxy == pytest.approx(np.array(boxes), abs=1e-3)
        assert detections.class_id.tolist() == [0] * len(boxes)


def test_yolo_outlines(imig: Imig, dataset: Path, tmp_path: Path) -> None:
    imig("export", "yolo", dataset, "--output", tmp_path / "out")
    found = yolo(tmp_path / "out", masks=True)
    scenes = read_scenes(dataset)
    seen = 0
    for path, _, detections in found:
        masks = masks_of(scenes[Path(path).stem])
        assert len(detections.mask) == len(masks)
        for theirs, ours in zip(detections.mask, masks, strict=True):
            assert not (ours & ~theirs).any()
            assert not (theirs & ~widened(ours)).any()
            seen += 1
    assert seen == 12


@pytest.mark.parametrize("segmentation", ["rle", "runs"])
def test_coco(imig: Imig, dataset: Path, tmp_path: Path, segmentation: str) -> None:
    out = tmp_path / "out"
    imig("export", "coco", dataset, "--set", f"segmentation={segmentation}", "--output", out)
    found = supervision.DetectionDataset.from_coco(
        images_directory_path=str(out / "images"),
        annotations_path=str(out / "annotations" / "instances.json"),
        force_masks=True,
    )
    scenes = read_scenes(dataset)
    assert len(found) == len(scenes)
    for path, _, detections in found:
        scene = scenes[Path(path).stem]
        boxes = [one["box"] for one in scene.record["instances"]]
        assert detections.xyxy == pytest.approx(np.array(boxes))
        for theirs, ours in zip(detections.mask, masks_of(scene), strict=True):
            assert (theirs == ours).all()

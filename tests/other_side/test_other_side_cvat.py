"""datumaro, by which CVAT reads and writes datasets, reads our XML, and we read its."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datumaro import AnnotationType, Bbox, Dataset, Mask
from pycocotools import mask as coco
from support.other_side import Imig, StoredScene, read_scenes


@pytest.fixture(scope="module")
def exported(imig: Imig, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cvat") / "out"
    imig("export", "cvat", dataset, "--output", folder)
    return folder


def require_same(items: Dataset, scenes: dict[str, StoredScene]) -> None:
    found = {item.id: item for item in items}
    assert found.keys() == scenes.keys()
    for sample_id, scene in scenes.items():
        item = found[sample_id]
        assert item.media.size == (64, 96)
        boxes = [one for one in item.annotations if isinstance(one, Bbox)]
        masks = [one for one in item.annotations if isinstance(one, Mask)]
        instances = scene.record["instances"]
        for one, box, mask in zip(instances, boxes, masks, strict=True):
            x1, y1, x2, y2 = one["box"]
            assert box.get_bbox() == [x1, y1, x2 - x1, y2 - y1]
            assert (np.asarray(mask.image) == coco.decode(one["mask"])).all()
            assert box.group == mask.group == one["index"] + 1
            assert box.attributes["phrase"] == mask.attributes["phrase"] == one["phrase"]


def test_datumaro_reads_boxes_masks_and_phrases(exported: Path, dataset: Path) -> None:
    items = Dataset.import_from(str(exported), "cvat")
    require_same(items, read_scenes(dataset))
    labels = items.categories()[AnnotationType.label]
    assert {one.name for one in labels} == {"ball", "imig scene", "object"}


def test_what_datumaro_writes_comes_back(
    exported: Path, imig: Imig, dataset: Path, tmp_path: Path
) -> None:
    """Through its reader and its writer: masks to the bit, whatever else it leaves out."""
    items = Dataset.import_from(str(exported), "cvat")
    items.export(str(tmp_path / "written"), "cvat", save_media=False)
    (source,) = (tmp_path / "written").glob("*.xml")
    back = tmp_path / "back"
    imig("import", "cvat", source, "--set", f"dataset={dataset}", "--output", back)
    imig("validate", back)
    before, after = read_scenes(dataset), read_scenes(back)
    for sample_id, scene in before.items():
        keys = ("box", "mask", "phrase", "noun", "identity_id")
        assert [[one[key] for key in keys] for one in after[sample_id].record["instances"]] == [
            [one[key] for key in keys] for one in scene.record["instances"]
        ]

"""Files of annotations as COCO has them, with pictures, small and true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imig.sample import image_to_jpeg
from support.picture_files import exif, orientation

SIZE = (160, 120)
"""(width, height) of pictures where nothing else is said."""
CATEGORIES = [
    {"id": 1, "name": "dog", "supercategory": "animal"},
    {"id": 7, "name": "bow_(decorative_ribbons)", "synset": "bow.n.08", "frequency": "r"},
    {"id": 90, "name": "Käsekuchen 蛋糕"},
]

Entry = dict[str, Any]


def picture(size: tuple[int, int] = SIZE, *, lying: int = 1) -> bytes:
    """A JPEG; `lying` is its EXIF orientation."""
    across, down = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    pixels = np.stack([across, down, 255 - across], axis=-1).astype(np.uint8)
    data = image_to_jpeg(Image.fromarray(pixels))
    if lying == 1:
        return data
    payload = exif(orientation(lying))
    return data[:2] + b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload + data[2:]


def image(number: int, **values: object) -> Entry:
    """An entry of ``images``."""
    return {
        "id": number,
        "file_name": f"{number}.jpg",
        "width": SIZE[0],
        "height": SIZE[1],
        **values,
    }


def marked(number: int, box: list[float], **values: object) -> Entry:
    """An annotation of picture 1: a rectangle, as a polygon."""
    x, y, width, height = box
    right, bottom = x + width, y + height
    return {
        "id": number,
        "image_id": 1,
        "category_id": 1,
        "bbox": box,
        "area": width * height,
        "iscrowd": 0,
        "segmentation": [[x, y, right, y, right, bottom, x, bottom]],
        **values,
    }


def write_coco(
    folder: Path,
    annotations: list[Entry],
    *,
    images: list[Entry] | None = None,
    captions: list[Entry] | None = None,
    pictures: dict[str, bytes] | None = None,
    categories: list[Entry] | None = None,
) -> Path:
    """Write ``images/``, ``annotations/instances.json`` and, where given, ``captions.json``."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    for name, data in ({"1.jpg": picture()} if pictures is None else pictures).items():
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    listed = [image(1)] if images is None else images
    instances = {
        "info": {"year": 2017, "nested": [[1, [2]], {"a": []}]},
        "images": listed,
        "annotations": annotations,
        "categories": CATEGORIES if categories is None else categories,
    }
    path = folder / "annotations" / "instances.json"
    path.write_text(json.dumps(instances, ensure_ascii=False), encoding="utf-8")
    if captions is not None:
        said = {"images": listed, "annotations": captions}
        (folder / "annotations" / "captions.json").write_text(json.dumps(said, ensure_ascii=False))
    return folder

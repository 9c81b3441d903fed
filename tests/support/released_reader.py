"""IMIG-100K as the released trainer's data loader reads it: which files, which keys, what it asks.

Written from what that loader does, with none of its code. Chance is taken out: every way that it
may take with a sample is taken.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

EDITED = ("imig-basic", "imig-complex")
COMPOSED = ("imig-composite", "imig-multicomposite")
SIDE = 768
"""Its targets become squares of that, whatever they were."""
AREA = 512**2
"""Of references."""


@dataclass(frozen=True)
class Read:
    """What it makes of an instance in one of the ways."""

    folder: str
    index: int
    caption: str
    way: str
    phrase: str
    box: tuple[int, int, int, int]
    """Pixels of the target as it resizes it."""
    size: tuple[int, int]
    """Of the reference as it resizes it."""
    subject_box: tuple[float, ...] | None
    anchor: tuple[tuple[float, float], tuple[float, float]] | None
    picture: Path


def read_everything(root: Path) -> Iterator[Read]:
    """Raises what the loader would raise: KeyError, TypeError, FileNotFoundError, .."""
    lists = {}
    for folder in (*EDITED, *COMPOSED):
        with open(root / folder / "filtered_prompts.json", encoding="ascii") as file:
            lists[folder] = json.load(file)
    for folder, entries in lists.items():
        for entry in entries:
            read = _read_edited if folder in EDITED else _read_composed
            yield from read(root / folder, entry)


def _read_edited(folder: Path, entry: dict[str, Any]) -> Iterator[Read]:
    scale = SIDE / _open(folder / "data" / f"{entry['index']:06d}.jpg", "RGB").height
    for one in entry["reference_images"]:
        box = tuple(round(corner * scale) for corner in one["bbox"])
        for way, pictures in (("crop", "instance_data"), ("edit", "kontext_data")):
            name = f"{entry['index']:06d}_{one['index']}"
            path = folder / pictures / f"{name}.jpg"
            picture = _open(path, "RGB")
            mask = _open(folder / f"masked_{pictures}" / f"{name}_mask.png", "L")
            assert picture.size == mask.size
            assert mask.getbbox() is not None
            valid = one.get("valid_bbox", None) if way == "edit" else None
            if valid is not None:
                limits = (*picture.size, *picture.size)
                valid = tuple(corner / limit for corner, limit in zip(valid, limits, strict=True))
            yield Read(
                folder.name, entry["index"], entry["prompt"], way, one["phrase"], _four(box),
                _resized(picture), valid, None, path,
            )  # fmt: skip


def _read_composed(folder: Path, entry: dict[str, Any]) -> Iterator[Read]:
    target = _open(folder / "composite_images" / f"{entry['index']:06d}.jpg", "RGB")
    scale = SIDE / target.height
    for number, phrase in enumerate(entry["instance"]):
        name = f"{entry['index']:06d}_{entry['indices'][number]}"
        face, found = entry["face_bbox"][number], entry["bbox"][number]
        has_aligned = face is not None and face["aligned_face_bbox"] is not None
        if has_aligned:
            path = folder / "aligned_faces" / f"{name}_aligned_face.png"
            picture = _open(path, "RGBA")
            assert picture.getchannel("A").getbbox() is not None
            box = _grown_face([one * scale for one in face["target"]], face, picture)
            anchor = (_centre(face["aligned_face_bbox"], picture), _centre(face["target"], target))
            yield Read(
                folder.name, entry["index"], entry["prompt"], "face", phrase, box,
                _resized(picture), None, anchor, path,
            )  # fmt: skip
        if found is None:
            assert has_aligned  # else it asks None for its box
            continue
        path = folder / "reference_masks" / f"{name}.jpg"
        picture = _open(path, "RGB")
        mask = _open(folder / "reference_masks" / f"{name}_mask.png", "L")
        assert picture.size == mask.size
        at = None
        if face is not None:
            at = (_centre(face["ref"], picture), _centre(face["target"], target))
        box = _four(tuple(round(corner * scale) for corner in found["bbox"]))
        yield Read(
            folder.name, entry["index"], entry["prompt"], "source", phrase, box,
            _resized(picture), None, at, path,
        )  # fmt: skip


def _grown_face(
    target: list[float], face: dict[str, Any], picture: Image.Image
) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = face["aligned_face_bbox"]
    factor = (picture.width * picture.height / ((x2 - x1) * (y2 - y1))) ** 0.5
    centre = ((target[0] + target[2]) / 2, (target[1] + target[3]) / 2)
    half = [(target[2] - target[0]) * factor / 2, (target[3] - target[1]) * factor / 2]
    low = [max(int(a - b), 0) for a, b in zip(centre, half, strict=True)]
    high = [min(int(a + b), SIDE) for a, b in zip(centre, half, strict=True)]
    return _four((*low, *high))


def _centre(box: list[int], picture: Image.Image) -> tuple[float, float]:
    """(y, x), as shares of the picture."""
    return (box[1] + box[3]) / 2 / picture.height, (box[0] + box[2]) / 2 / picture.width


def _resized(picture: Image.Image) -> tuple[int, int]:
    aspect = picture.width / picture.height
    return round((AREA * aspect) ** 0.5), round((AREA / aspect) ** 0.5)


def _four(box: tuple[int, ...]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box
    assert x1 < x2
    assert y1 < y2
    return x1, y1, x2, y2


def _open(path: Path, mode: str) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert(mode)

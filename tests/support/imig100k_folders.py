"""A small IMIG-100K in the published form, written by hand: with none of imig's own writers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

TARGET = (96, 96)


def write_published(root: Path) -> Path:
    """Two samples of `imig-basic`, one of each other folder."""
    _write_edited(
        root, "imig-basic", [_pair(12, caption="An owl and a cup, à la naïve 🦉."), _tiny()]
    )
    _write_edited(root, "imig-complex", [_pair(7, caption="A fox beside a lamp.")])
    _write_composed(root, "imig-composite", [_two_friends()])
    _write_composed(root, "imig-multicomposite", [_three_things()])
    return root


def read_entries(root: Path, folder: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(
        (root / folder / "filtered_prompts.json").read_text()
    )
    return entries


def write_entries(root: Path, folder: str, entries: Any) -> None:
    # As the released pipeline writes them.
    (root / folder / "filtered_prompts.json").write_text(json.dumps(entries, indent=2))


def _pair(index: int, *, caption: str) -> dict[str, Any]:
    """The filter has taken instance 1 out; a detector has not found the second edit's subject."""
    return {
        "index": index,
        "prompt": caption,
        "nouns": ["owl", "Tässchen"],
        "reference_images": [
            {"bbox": [4, 6, 44, 66], "index": 0, "phrase": "owl", "valid_bbox": [8, 2, 50, 78]},
            {"bbox": [50, 30, 90, 90], "index": 2, "phrase": "big Tässchen"},
        ],
    }


def _tiny() -> dict[str, Any]:
    """One instance, of one pixel."""
    one = {"bbox": [95, 0, 96, 1], "index": 0, "phrase": "speck"}
    return {"index": 1000001, "prompt": "A speck.", "nouns": ["speck"], "reference_images": [one]}


def _two_friends() -> dict[str, Any]:
    """Both with faces, one of which was not aligned; what was matched first was filtered out."""
    return {
        "index": 3,
        "prompt": "Two friends.",
        "instance": ["a girl", "her friend"],
        "instance_prompt": ["A portrait of a girl.", "A portrait of a friend."],
        "bbox": [
            {"bbox": [0, 10, 40, 96], "score": 0.91},
            {"bbox": [50, 12, 96, 90], "score": 0.83},
        ],
        "face_bbox": [
            {
                "ref": [20, 4, 44, 30],
                "target": [10, 14, 28, 34],
                "score": 0.72,
                "aligned_face_bbox": [6, 5, 26, 28],
            },
            {
                "ref": [22, 6, 40, 28],
                "target": [60, 16, 80, 40],
                "score": 0.5,
                "aligned_face_bbox": None,
            },
        ],
        "indices": [1, 3],
    }


def _three_things() -> dict[str, Any]:
    return {
        "index": 0,
        "prompt": "Three things.",
        "instance": ["duck", "pot", "wheel"],
        "instance_prompt": ["A duck.", "A pot.", "A wheel."],
        "bbox": [
            {"bbox": [x, 20, x + 30, 80], "score": 0.9 - x / 1000} for x in (0, 32, 64)
        ],
        "face_bbox": [None, None, None],
        "indices": [0, 1, 4],
    }  # fmt: skip


def _write_edited(root: Path, folder: str, entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        number = f"{entry['index']:06d}"
        target = _picture(TARGET, seed=entry["index"])
        _save(target, root / folder / "data" / f"{number}.jpg")
        for one in entry["reference_images"]:
            name = f"{number}_{one['index']}"
            crop = target.crop(one["bbox"])
            _save(crop, root / folder / "instance_data" / f"{name}.jpg")
            _save(_mask(crop.size), root / folder / "masked_instance_data" / f"{name}_mask.png")
            edit = _picture((64, 80), seed=one["index"] + 1)
            _save(edit, root / folder / "kontext_data" / f"{name}.jpg")
            _save(_mask(edit.size), root / folder / "masked_kontext_data" / f"{name}_mask.png")
    write_entries(root, folder, entries)


def _write_composed(root: Path, folder: str, entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        number = f"{entry['index']:06d}"
        _save(_picture(TARGET, seed=9), root / folder / "composite_images" / f"{number}.jpg")
        for view, face in zip(entry["indices"], entry["face_bbox"], strict=True):
            name = f"{number}_{view}"
            _save(_picture((64, 48), seed=view), root / folder / "reference_masks" / f"{name}.jpg")
            _save(_mask((64, 48)), root / folder / "reference_masks" / f"{name}_mask.png")
            if face is not None and face["aligned_face_bbox"] is not None:
                aligned = _picture((32, 32), seed=view)
                aligned.putalpha(_mask((32, 32)).convert("L"))
                _save(aligned, root / folder / "aligned_faces" / f"{name}_aligned_face.png")
    write_entries(root, folder, entries)


def _picture(size: tuple[int, int], *, seed: int) -> Image.Image:
    picture = Image.linear_gradient("L").resize(size).convert("RGB")
    colour = (seed * 37 % 256, seed * 91 % 256, 120)
    ImageDraw.Draw(picture).ellipse((2, 2, size[0] - 3, size[1] - 3), fill=colour)
    return picture


def _mask(size: tuple[int, int]) -> Image.Image:
    """An ellipse, and one pixel at least."""
    mask = Image.new("1", size)
    margin = (size[0] // 8, size[1] // 8)
    end = (size[0] - 1 - margin[0], size[1] - 1 - margin[1])
    ImageDraw.Draw(mask).ellipse((*margin, *end), fill=1)
    mask.putpixel((size[0] // 2, size[1] // 2), 1)
    return mask


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)

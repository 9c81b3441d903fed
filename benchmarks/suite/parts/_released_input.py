"""Training input as the released trainer makes it, written from its description.

Loose files in the published layout (REFERENCE 2.2), decoded by Pillow; references placed as float
tensors on whole canvases of their own and stacked (REFERENCE 3.4); references zeroed outside their
masks (REFERENCE 3.1). Of the subset `basic`, whose references are crops: `image-fit`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from imig.layout.layering import layer_order
from imig.sample import Sample

TOKEN = 16


@dataclass(frozen=True)
class ReleasedSample:
    """Pictures are (3, height, width) float32 in [-1, 1]."""

    caption: str
    target: Tensor
    layout: Tensor
    references: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    """(height, width) bool of the references."""


def write_published(folder: Path, samples: Sequence[Sample]) -> Path:
    """Scenes as loose files, to the bytes of their shards' members; returns the folder."""
    names = ("data", "instance_data", "masked_instance_data")
    for name in names:
        (folder / name).mkdir(parents=True)
    records = []
    for number, sample in enumerate(samples):
        (folder / "data" / f"{number:06d}.jpg").write_bytes(sample.files[sample.scene.target])
        for one in sample.scene.instances:
            crop = one.references[0]
            assert crop.mask is not None
            stem = f"{number:06d}_{one.index}"
            (folder / names[1] / f"{stem}.jpg").write_bytes(sample.files[crop.image])
            (folder / names[2] / f"{stem}_mask.png").write_bytes(sample.files[crop.mask])
        records.append(
            {
                "index": number,
                "prompt": sample.scene.caption,
                "nouns": sample.scene.nouns,
                "reference_images": [
                    {"index": one.index, "bbox": list(one.box), "phrase": one.phrase}
                    for one in sample.scene.instances
                ],
            }
        )
    (folder / "filtered_prompts.json").write_text(json.dumps(records))
    return folder


class ReleasedData(torch.utils.data.Dataset[ReleasedSample]):
    """One sample at a time from a folder of the published layout."""

    def __init__(self, folder: Path, *, target_width: int, reference_side: int) -> None:
        self.folder = folder
        self.records = json.loads((folder / "filtered_prompts.json").read_text())
        self.target_width = target_width
        self.reference_side = reference_side

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, number: int) -> ReleasedSample:
        record = self.records[number]
        index = record["index"]
        stored = _open(self.folder / "data" / f"{index:06d}.jpg")
        width = self.target_width
        height = round(width * stored.height / stored.width / TOKEN) * TOKEN
        scale = np.array([width / stored.width, height / stored.height] * 2)
        boxes, crops, masks = [], [], []
        for one in record["reference_images"]:
            stem = f"{index:06d}_{one['index']}"
            boxes.append(np.array(one["bbox"]) * scale)
            crops.append(_open(self.folder / "instance_data" / f"{stem}.jpg"))
            path = self.folder / "masked_instance_data" / f"{stem}_mask.png"
            masks.append(Image.open(io.BytesIO(path.read_bytes())).convert("L"))
        layout = torch.zeros(3, height, width)
        for place in layer_order(boxes, size=(width, height), seed=index):
            drawn, seen = place_on_canvas(
                to_tensor(crops[place]),
                torch.from_numpy(np.array(masks[place]) > 127),
                box=boxes[place].tolist(),
                size=(width, height),
            )
            layout = torch.where(seen, drawn, layout)
        references = [
            prepare_reference(crop, mask, side=self.reference_side)
            for crop, mask in zip(crops, masks, strict=True)
        ]
        return ReleasedSample(
            caption=record["prompt"],
            target=to_tensor(stored.resize((width, height), Image.Resampling.BICUBIC)),
            layout=layout,
            references=tuple(picture for picture, _ in references),
            masks=tuple(mask for _, mask in references),
        )


def place_on_canvas(
    picture: Tensor, mask: Tensor, *, box: Sequence[float], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """`image-fit` on a canvas of `size` (width, height): its pixels, and where they are.

    Parameters
    ----------
    picture, mask:
        (3, h, w) and (h, w).
    """
    height, width = mask.shape
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    scale = min((box[2] - box[0]) / width, (box[3] - box[1]) / height)
    cut = (picture * mask)[:, top:bottom, left:right]
    new = [max(1, int(side * scale)) for side in (bottom - top, right - left)]
    resized = F.interpolate(cut[None], new, mode="bilinear", align_corners=False)[0]
    coverage = mask[None, None, top:bottom, left:right].float()
    covered = F.interpolate(coverage, new, mode="bilinear", align_corners=False)[0, 0] > 0
    x = int((box[0] + box[2]) / 2 + (left - width / 2) * scale)
    y = int((box[1] + box[3]) / 2 + (top - height / 2) * scale)
    x1, y1 = max(x, 0), max(y, 0)
    x2, y2 = min(x + new[1], size[0]), min(y + new[0], size[1])
    canvas = torch.zeros(3, size[1], size[0])
    seen = torch.zeros(size[1], size[0], dtype=torch.bool)
    canvas[:, y1:y2, x1:x2] = resized[:, y1 - y : y2 - y, x1 - x : x2 - x]
    seen[y1:y2, x1:x2] = covered[y1 - y : y2 - y, x1 - x : x2 - x]
    return canvas, seen


def prepare_reference(crop: Image.Image, mask: Image.Image, *, side: int) -> tuple[Tensor, Tensor]:
    """About `side` squared pixels, sides multiples of 16; background 0, mid grey."""
    scale = side / (crop.width * crop.height) ** 0.5
    width, height = (max(int(one * scale / TOKEN), 1) * TOKEN for one in (crop.width, crop.height))
    picture = to_tensor(crop.resize((width, height), Image.Resampling.BICUBIC))
    inside = torch.from_numpy(
        np.array(mask.resize((width, height), Image.Resampling.NEAREST)) > 127
    )
    return picture * inside, inside


def to_tensor(picture: Image.Image) -> Tensor:
    """(3, height, width) float32 in [-1, 1]."""
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    return pixels.contiguous().float() / 127.5 - 1


def _open(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes())).convert("RGB")

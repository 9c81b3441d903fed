"""A layout image composed the way the released trainer does it, as a peer to measure beside.

Pictures are float tensors. The subject is cut out, resized bilinearly without antialiasing, and put
on a canvas of its own, as large as the target; then the canvases are stacked, farthest first.
Written apart from `imig.layout`, which it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ReleasedReference:
    """One reference as the released loader hands it on."""

    image: Tensor
    """(3, height, width) float32 in [-1, 1]."""
    mask: Tensor
    """(height, width) bool."""
    fit: str = "instance-fit"
    subject_box: Box | None = None
    """As shares of the image's width and height."""
    anchor: tuple[tuple[float, float], tuple[float, float]] | None = None
    """A point (y, x) of the cut-out and where it goes on the canvas, as shares of their sides."""


def compose(
    references: Sequence[ReleasedReference],
    boxes: Sequence[Box],
    order: Sequence[int],
    *,
    size: tuple[int, int],
) -> Tensor:
    """(3, height, width) in [-1, 1]; what nobody covers is 0. `size` is (width, height)."""
    layout = torch.zeros(3, size[1], size[0])
    placed = [place(one, box=box, size=size) for one, box in zip(references, boxes, strict=True)]
    for index in order:
        image, mask = placed[index]
        layout = torch.where(mask[None], image, layout)
    return layout


def place(
    reference: ReleasedReference, *, box: Box, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The cut-out on a canvas: (3, height, width), 0 where it is not; its mask, (height, width)."""
    x1, y1, x2, y2 = _cut(reference)
    left, top, width, height = _where((x1, y1, x2, y2), reference, box=box, size=size)
    mask = reference.mask[y1:y2, x1:x2].float()
    subject = torch.cat((reference.image[:, y1:y2, x1:x2], mask[None]))[None]
    resized = F.interpolate(subject, (height, width), mode="bilinear", align_corners=False)[0]
    canvas = torch.zeros(4, size[1], size[0])
    first_x, first_y = max(left, 0), max(top, 0)
    last_x, last_y = min(left + width, size[0]), min(top + height, size[1])
    if first_x < last_x and first_y < last_y:
        canvas[:, first_y:last_y, first_x:last_x] = resized[
            :, first_y - top : last_y - top, first_x - left : last_x - left
        ]
    return canvas[:3], canvas[3] > 0


def _cut(reference: ReleasedReference) -> tuple[int, int, int, int]:
    """From the mask's first row and column to its last, which is lost, and the subject box."""
    rows, columns = torch.where(reference.mask)
    x1, y1, x2, y2 = (int(one) for one in (columns.min(), rows.min(), columns.max(), rows.max()))
    if reference.subject_box is not None:
        height, width = reference.mask.shape
        sides = (width, height, width, height)
        left, top, right, bottom = (
            int(edge * side) for edge, side in zip(reference.subject_box, sides, strict=True)
        )
        x1, y1, x2, y2 = min(x1, left), min(y1, top), max(x2, right), max(y2, bottom)
    return x1, y1, x2, y2


def _where(
    cut: tuple[int, int, int, int],
    reference: ReleasedReference,
    *,
    box: Box,
    size: tuple[int, int],
) -> tuple[int, int, int, int]:
    """Left, top, width and height of the cut-out on the canvas."""
    x1, y1, x2, y2 = cut
    box_width, box_height = box[2] - box[0], box[3] - box[1]
    centre_x, centre_y = (math.floor((box[i] + box[i + 2]) / 2 + 1e-6) for i in (0, 1))
    anchor = reference.anchor
    if reference.fit == "image-fit":
        rows, columns = reference.mask.shape
        scale = min(box_width / columns, box_height / rows)
        offsets = ((x1 - columns // 2, x2 - columns // 2), (y1 - rows // 2, y2 - rows // 2))
        scale = min(scale, _largest_scale(offsets, (centre_x, centre_y), size))
        scale = max(1, int(rows * scale + 1e-6)) / rows
        left = math.floor(centre_x + (x1 - columns // 2) * scale + 1e-6)
        top = math.floor(centre_y + (y1 - rows // 2) * scale + 1e-6)
        width = math.floor(centre_x + (x2 - columns // 2) * scale + 1e-6) - left
        height = math.floor(centre_y + (y2 - rows // 2) * scale + 1e-6) - top
    else:
        scale_x, scale_y = box_width / (x2 - x1), box_height / (y2 - y1)
        if reference.fit == "instance-fit":
            scale_x = scale_y = math.sqrt(scale_x * scale_y)
        width = int((x2 - x1) * scale_x + 1e-6)
        height = int((y2 - y1) * scale_y + 1e-6)
        left, top = centre_x - width // 2, centre_y - height // 2
    width, height = max(1, width), max(1, height)
    if anchor is not None:
        (y, x), (canvas_y, canvas_x) = anchor
        left = round(canvas_x * size[0]) - round(x * width)
        top = round(canvas_y * size[1]) - round(y * height)
    return left, top, width, height


def _largest_scale(
    offsets: tuple[tuple[int, int], tuple[int, int]],
    centre: tuple[int, int],
    size: tuple[int, int],
) -> float:
    """At which the cut-out still lies on the canvas; offsets from the image's centre, x then y."""
    limits = [math.inf]
    for offset, middle, side in zip(offsets, centre, size, strict=True):
        for room in (-middle, side - middle):
            limits += [room / one for one in offset if one and room / one > 0]
    return min(limits)

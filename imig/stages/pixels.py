"""Small measures and cuts on pictures that several stages share."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from imig.layout.masks import Mask, rle_to_mask
from imig.layout.sharpness import laplacian_variance
from imig.schema import Box, Instance

MID_GREY = 128
"""The empty canvas of layouts, too (REFERENCE 3.4)."""


def sharpness(image: Image.Image, mask: Mask | None = None) -> float:
    """`laplacian_variance` as it is stored: 6 decimals, since soft pictures lie near 1e-4."""
    return round(laplacian_variance(image, mask), 6)


def grow_box(box: Box, *, margin: float, width: int, height: int) -> Box:
    """Add `margin` (share of the box's sides) on each side, rounded outwards, inside the image."""
    x1, y1, x2, y2 = box
    right, down = margin * (x2 - x1), margin * (y2 - y1)
    return (
        max(math.floor(x1 - right), 0),
        max(math.floor(y1 - down), 0),
        min(math.ceil(x2 + right), width),
        min(math.ceil(y2 + down), height),
    )


def crop_mask(mask: Mask, box: Box) -> Mask:
    """The part of a mask inside a box."""
    x1, y1, x2, y2 = box
    return mask[y1:y2, x1:x2]


def grey_out(image: Image.Image, mask: Mask) -> Image.Image:
    """A copy with mid grey wherever the mask (same size) is not set."""
    pixels = np.where(mask[..., None], np.asarray(image.convert("RGB")), np.uint8(MID_GREY))
    return Image.fromarray(pixels)


def instance_mask(instance: Instance, *, width: int, height: int) -> Mask:
    """In pixels of the target, which is `width` x `height`; the whole box where there is none."""
    if instance.mask is not None:
        return rle_to_mask(instance.mask)
    x1, y1, x2, y2 = instance.box
    mask = np.zeros((height, width), dtype=bool)
    mask[y1:y2, x1:x2] = True
    return mask


CUT_MARGIN = 0.05
"""Around an instance that is cut out of the target to be compared with a view (our choice)."""


def cut_out(target: Image.Image, instance: Instance, mask: Mask) -> tuple[Image.Image, Mask]:
    """An instance with a margin, as large as it stands in the target: picture and mask."""
    box = grow_box(instance.box, margin=CUT_MARGIN, width=target.width, height=target.height)
    return target.crop(box), crop_mask(mask, box)

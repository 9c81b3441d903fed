"""Small measures and cuts on pictures that several stages share."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from imig.layout.masks import Mask
from imig.schema import Box

MID_GREY = 128
"""The empty canvas of layouts, too (REFERENCE 3.4)."""


def sharpness(image: Image.Image) -> float:
    """Variance of the 4-neighbour Laplacian of the grey values in [0, 1], to 6 decimals.

    The usual focus measure (Pech-Pacheco et al. 2000). 0 for pictures under 3 pixels a side. Six
    decimals, since soft pictures lie near 1e-4.
    """
    grey = np.asarray(image.convert("L"), dtype=np.float64) / 255.0
    if min(grey.shape) < 3:
        return 0.0
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return round(float((around - 4.0 * grey[1:-1, 1:-1]).var()), 6)


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

"""Pictures of every mode -> 8 bits a channel, and -> masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.layout.masks import Mask

_SCALES = (255.0, 65535.0)
"""What white is in whole numbers of more than 8 bits: the least that holds them."""


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Greys of 16 or 32 bits, or floats, scaled to mode L; other modes are left as they are.

    Where the mode does not say what white is, it is the least of 255 and 65535 (floats: of 1, 255
    and 65535) that holds all values. What is not a number is black.
    """
    if image.mode.startswith("I;16"):
        return _scaled(np.asarray(image, dtype=np.float64), full_scale=65535.0)
    if image.mode in ("I", "F"):
        values = _finite(image)
        scales = (1.0, *_SCALES) if image.mode == "F" else _SCALES
        return _scaled(values, full_scale=_least_scale(float(values.max()), scales))
    return image


def flatten(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Any mode of 8 bits -> RGB; what is transparent shows the background.

    What is opaque RGB already is returned as it is, without a copy.
    """
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    picture = image.convert("RGBA")
    ground = Image.new("RGBA", picture.size, (*background, 255))
    return Image.alpha_composite(ground, picture).convert("RGB")


def to_mask(image: Image.Image) -> Mask:
    """A mask of somebody else -> boolean (height, width): white is the subject.

    * A pixel is subject where it is brighter than half of white; its brightness is that of its
      brightest channel, so that red on black is a mask too.
    * White is the least scale that holds the whole picture: 1, 255 or 65535, beyond that the
      highest value. So 0/1, 0/255 and 0/65535 are masks in 1, 8, 16 and 32 bits and in floats, and
      a 32-bit mask whose set pixels read as -1 (all bits) is one. Whole numbers that are 1
      everywhere are dark.
    * What is transparent is not subject. Where all that is opaque is dark, it is the transparency
      that says what the subject is.
    """
    brightness, white = brightness_of_mask(image)
    mask = np.asarray(brightness > white / 2)
    if not mask.any() and image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        if alpha.min() <= 127 < alpha.max():
            return np.asarray(alpha > 127)
    return mask


def brightness_of_mask(
    image: Image.Image,
) -> tuple[NDArray[np.float64] | NDArray[np.uint8], float]:
    """How bright each pixel of a mask is, and what white is."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        finite = _finite(image)
        values: NDArray[np.float64] | NDArray[np.uint8] = -finite if finite.max() <= 0 else finite
    else:
        values = np.asarray(flatten(image, (0, 0, 0))).max(axis=2)
    lowest, highest = float(values.min()), float(values.max())
    if image.mode == "F" or (lowest, highest) == (0, 1):
        return values, _least_scale(highest, (1.0, *_SCALES))
    return values, _least_scale(highest, _SCALES)


def _least_scale(highest: float, scales: tuple[float, ...]) -> float:
    return next((scale for scale in scales if highest <= scale), highest)


def _finite(image: Image.Image) -> NDArray[np.float64]:
    return np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)


def _scaled(values: NDArray[np.float64], *, full_scale: float) -> Image.Image:
    grey = np.rint(np.clip(values / full_scale, 0.0, 1.0) * 255.0).astype(np.uint8)
    return Image.fromarray(grey)

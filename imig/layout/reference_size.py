"""Pictures and references at the sizes at which the model sees them.

Sides are multiples of 16, one token (REFERENCE 3.1). A reference keeps its own aspect at about
`side` squared pixels of area; what is not the subject becomes mid grey, 0 where images are in
[-1, 1].
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.layout.composition import MID_GREY
from imig.layout.lanczos import resize_lanczos

TOKEN = 16
"""Pixels of a token's side: FLUX's VAE shrinks by 8, packing by 2."""


def picture_size(width: int, height: int, *, target_width: int | None = None) -> tuple[int, int]:
    """(width, height) of a target and its layout: multiples of 16, the aspect nearly kept.

    `target_width` wide, rounded to a multiple of 16 where it is none; None: as wide as it is.
    """
    wanted = width if target_width is None else target_width
    new_width, new_height = (
        max(round(side / TOKEN), 1) * TOKEN for side in (wanted, wanted * height / width)
    )
    return new_width, new_height


def reference_size(
    width: int, height: int, *, side: int, rounding: Literal["nearest", "up"] = "nearest"
) -> tuple[int, int]:
    """(width, height) of a reference for the model: multiples of 16, about side * side in area.

    The aspect is kept as far as multiples of 16 allow. A very long reference gets one token as its
    short side and no more area than `side` squared.

    `rounding` up is that of the released inference: whole pixels down, then multiples of 16 up, and
    no limit to the length.

    Raises
    ------
    ValueError
        When a side is not positive.
    """
    if min(width, height, side) < 1:
        raise ValueError(f"sides must be positive, got {width} x {height} and side {side}")
    longest = max(round(side * side / TOKEN / TOKEN), 1) * TOKEN
    stretch = side / math.sqrt(width * height)
    if rounding == "up":
        # The released expression to the last bit: it decides which side of a whole pixel one is on.
        stretch = math.sqrt(side * side / (width * height))
        wide, high = (max(-(-int(one * stretch) // TOKEN), 1) for one in (width, height))
        return wide * TOKEN, high * TOKEN
    fitted = (max(round(one * stretch / TOKEN), 1) * TOKEN for one in (width, height))
    new_width, new_height = (min(one, longest) for one in fitted)
    return new_width, new_height


def prepare_reference(
    image: Image.Image, mask: NDArray[np.bool_], *, side: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """`resize_reference` to `reference_size`."""
    size = reference_size(*image.size, side=side)
    return resize_reference(image, mask, size=size)


def resize_reference(
    image: Image.Image, mask: NDArray[np.bool_], *, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Resize a reference and its mask to a size (width, height), and zero the background.

    The background goes before the resize, so that none of it bleeds into the subject's edge, and
    once more after it, so that it is exactly mid grey.

    Parameters
    ----------
    image:
        RGB or RGBA (its alpha is not looked at: `mask` counts).
    mask:
        (height, width) of `image`, True on the subject. A resized pixel belongs to the subject when
        the mask covers half of it; where that would leave nothing, when it covers any of it.

    Returns
    -------
    image, mask:
        (h, w, 3) uint8 and (h, w) bool; the mask is empty only when the given one is.

    Raises
    ------
    ValueError
        When image and mask differ in size.
    """
    if image.size != mask.shape[::-1]:
        raise ValueError(f"image is {image.size}, its mask {mask.shape[::-1]} (width, height)")
    subject = np.array(image.convert("RGB"))
    _fill_outside(subject, mask)
    pixels = resize_lanczos(subject, size)
    covered = resize_lanczos(mask.astype(np.uint8) * np.uint8(255), size)
    inside = covered > 127
    if not inside.any():
        inside = covered > 0
    if not inside.any() and mask.any():
        # A speck in a picture that shrinks a lot rounds to nothing everywhere.
        rows, columns = np.nonzero(mask)
        inside[
            int(rows.mean() * size[1] / mask.shape[0]),
            int(columns.mean() * size[0] / mask.shape[1]),
        ] = True
    _fill_outside(pixels, inside)
    return pixels, inside


def _fill_outside(pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    """Mid grey where the mask is not, in place."""
    outside = ~mask
    # Band by band: indexing whole pixels takes ten times as long.
    for band, grey in enumerate(MID_GREY):
        np.copyto(pixels[..., band], np.uint8(grey), where=outside)

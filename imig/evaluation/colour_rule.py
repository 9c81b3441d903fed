"""Is a thing of the colour that was asked for? COCO-MIG's rule, on plain arrays.

A pixel is of a colour when its hue, saturation and value lie in the colour's ranges; a thing is of
a colour when a fifth of its pixels are. Hue is in OpenCV's 8-bit scale, 0 to 180 for a whole turn
(half of its degrees), saturation and value are 0 to 255; both ends of a range belong to it.

Ranges overlap on purpose: brown has the hues of orange and of some reds, and a dark blue is no
black. They judge photographs of one light; they are a rule of the benchmark, no theory of colour.
"""

from __future__ import annotations

from functools import cache
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

ColourSet = Literal["v1", "v2"]
"""Which ranges: those of the evaluator's first release, or those in force since."""

MIN_SHARE: Final = 0.2
"""Of a thing's pixels that must be of a colour (released evaluator)."""


class HsvRange(NamedTuple):
    """(hue, saturation, value), both ends included."""

    lower: tuple[int, int, int]
    upper: tuple[int, int, int]


_BROWN: Final = HsvRange((6, 43, 35), (25, 255, 255))
_WHITE: Final = HsvRange((0, 0, 221), (180, 43, 255))

COLOUR_RANGES: Final[dict[ColourSet, dict[str, tuple[HsvRange, ...]]]] = {
    # LeyRio/MIG_Bench at 723d10e7
    "v1": {
        "red": (HsvRange((0, 43, 35), (6, 255, 255)), HsvRange((156, 43, 35), (180, 255, 255))),
        "blue": (HsvRange((78, 43, 35), (124, 255, 255)),),
        "green": (HsvRange((35, 43, 35), (77, 255, 255)),),
        "yellow": (HsvRange((20, 43, 35), (34, 255, 255)),),
        "black": (HsvRange((0, 0, 0), (180, 255, 35)),),
        "white": (_WHITE,),
        "brown": (_BROWN,),
    },
    # LeyRio/MIG_Bench at 063ec459
    "v2": {
        "red": (HsvRange((0, 50, 70), (9, 255, 255)), HsvRange((159, 50, 70), (180, 255, 255))),
        "blue": (HsvRange((90, 50, 70), (128, 255, 255)),),
        "green": (HsvRange((36, 50, 70), (89, 255, 255)),),
        "yellow": (HsvRange((25, 50, 70), (35, 255, 255)),),
        "black": (HsvRange((0, 0, 0), (180, 255, 30)),),
        "white": (_WHITE,),
        "brown": (_BROWN,),
    },
}
"""A colour is any of its ranges."""

COLOURS: Final = tuple(COLOUR_RANGES["v2"])
"""The words that the rule knows."""


def has_colour(
    pixels: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    colour: str,
    *,
    ranges: ColourSet = "v2",
    min_share: float = MIN_SHARE,
) -> bool:
    """Whether enough of the pixels under a mask are of a colour; an empty mask has none.

    Parameters are those of `colour_share`.
    """
    return bool(mask.any()) and colour_share(pixels, mask, colour, ranges=ranges) >= min_share


def colour_share(
    pixels: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    colour: str,
    *,
    ranges: ColourSet = "v2",
) -> float:
    """Share of the pixels under a mask that are of a colour; 0 for an empty mask.

    Parameters
    ----------
    pixels:
        (height, width, 3) RGB.
    mask:
        (height, width).
    colour:
        One of `COLOURS`.
    """
    own = pixels[mask]
    if not len(own):
        return 0.0
    return float(pixels_of_colour(own, colour, ranges=ranges).mean())


def pixels_of_colour(
    pixels: NDArray[np.uint8], colour: str, *, ranges: ColourSet = "v2"
) -> NDArray[np.bool_]:
    """Which pixels, (..., 3) RGB, are of a colour (one of `COLOURS`): (...)."""
    hsv = rgb_to_hsv(pixels)
    found = np.zeros(hsv.shape[:-1], np.bool_)
    for lower, upper in COLOUR_RANGES[ranges][colour]:
        inside = (hsv >= np.array(lower, np.uint8)) & (hsv <= np.array(upper, np.uint8))
        found |= inside.all(axis=-1)
    return found


def rgb_to_hsv(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(..., 3) RGB to hue (0..179), saturation and value (0..255), to the bit as OpenCV rounds.

    Its rounding decides at the ends of the ranges. The package itself is not needed.
    """
    red, green, blue = np.moveaxis(pixels.astype(np.int64), -1, 0)
    value = np.maximum(np.maximum(red, green), blue)
    spread = value - np.minimum(np.minimum(red, green), blue)
    saturation_factor, hue_factor = _division_tables()
    hue = np.where(
        value == red,
        green - blue,
        np.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (hue * hue_factor[spread] + _HALF) >> _SHIFT
    hue += np.where(hue < 0, 180, 0)
    saturation = (spread * saturation_factor[value] + _HALF) >> _SHIFT
    return np.stack([hue, saturation, value], axis=-1).astype(np.uint8)


_SHIFT: Final = 12
"""Binary places of OpenCV's fixed-point factors."""
_HALF: Final = 1 << (_SHIFT - 1)


@cache
def _division_tables() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of every value 255 / value, and of every spread 30 / spread, in fixed point; 0 for 0."""
    ones = np.arange(1, 256)
    saturation = np.rint((255 << _SHIFT) / ones).astype(np.int64)
    hue = np.rint((180 << _SHIFT) / (6.0 * ones)).astype(np.int64)
    return np.concatenate([[0], saturation]), np.concatenate([[0], hue])

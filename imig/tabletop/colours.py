"""Display colours, linear light, and the colours of an identity."""

from __future__ import annotations

import colorsys
from functools import lru_cache

from imig.tabletop.identity import Identity

Colour = tuple[float, float, float]

COLOUR_VALUES: dict[str, Colour] = {
    "red": (0.84, 0.07, 0.08),
    "orange": (0.98, 0.45, 0.03),
    "yellow": (0.97, 0.83, 0.08),
    "green": (0.13, 0.60, 0.17),
    "cyan": (0.10, 0.78, 0.82),
    "blue": (0.10, 0.24, 0.82),
    "purple": (0.46, 0.15, 0.70),
    "pink": (0.98, 0.47, 0.70),
}
LIGHT = (0.97, 0.96, 0.92)


def linear(colour: Colour) -> Colour:
    """Display colour to linear light (gamma 2, the package's display curve)."""
    return colour[0] ** 2, colour[1] ** 2, colour[2] ** 2


@lru_cache(maxsize=512)
def identity_colours(identity: Identity) -> tuple[Colour, Colour]:
    """Linear main and second colour of an identity."""
    hue, saturation, value = colorsys.rgb_to_hsv(*COLOUR_VALUES[identity.colour])
    main = colorsys.hsv_to_rgb((hue + identity.hue_shift) % 1.0, saturation, value)
    return linear(main), linear(LIGHT)

"""Colours that people with colour-blindness can tell apart, and greys for the rest."""

from __future__ import annotations

Colour = tuple[int, int, int]

INSTANCE_COLOURS: tuple[Colour, ...] = (
    # Okabe and Ito, "Color Universal Design" (2008), without its black.
    (230, 159, 0),
    (0, 114, 178),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
    # Paul Tol, "Colour Schemes" (2021), `muted`: those that are far from the above.
    (136, 34, 85),
    (51, 34, 136),
    (153, 153, 51),
)
"""In the order of instances; from the eleventh instance on they repeat, the number tells."""

PAGE: Colour = (250, 250, 248)
PANEL: Colour = (236, 236, 233)
INK: Colour = (33, 37, 41)
QUIET_INK: Colour = (96, 102, 108)


def instance_colour(index: int) -> Colour:
    """The colour of an instance's box, mask, label and reference frames."""
    return INSTANCE_COLOURS[index % len(INSTANCE_COLOURS)]


def luminance(colour: Colour) -> float:
    """Relative luminance in [0, 1] of an sRGB colour (WCAG 2)."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ink_on(colour: Colour) -> Colour:
    """Black or white, whichever has more contrast on the colour (WCAG 2)."""
    brightness = luminance(colour) + 0.05
    return (0, 0, 0) if brightness / 0.05 > 1.05 / brightness else (255, 255, 255)

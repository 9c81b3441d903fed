"""The layout image: references placed into their boxes and stacked in layer order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.layout.placement import Anchor, Fit, Rectangle, Resizer, place

MID_GREY = (128, 128, 128)
"""Empty canvas (REFERENCE 3.4): about 0 where images are in [-1, 1]."""
MAX_REFERENCES = 255  # the owner map has a byte a pixel


@dataclass(frozen=True)
class LayoutReference:
    """One reference to place."""

    image: Image.Image
    """RGB."""
    mask: NDArray[np.bool_]
    """(height, width), the subject."""
    fit: Fit = "instance-fit"
    subject_box: Rectangle | None = None
    anchor: Anchor | None = None


@dataclass(frozen=True)
class Layout:
    """A composed layout."""

    image: NDArray[np.uint8]
    """(height, width, 3)."""
    owner: NDArray[np.uint8]
    """(height, width): 1 + the index of the reference seen there, 0 for background."""


def compose_layout(
    references: Sequence[LayoutReference],
    boxes: Sequence[Rectangle],
    order: Sequence[int],
    *,
    size: tuple[int, int],
    background: tuple[int, int, int] = MID_GREY,
    resizer: Resizer = "torch",
) -> Layout:
    """Place every reference into its box and stack them.

    Parameters
    ----------
    references, boxes:
        One box, in pixels of the canvas, for each reference.
    order:
        Indices, farthest first (see `imig.layout.layering`); one that is left out is not drawn.
    size:
        (width, height) of the canvas.
    resizer:
        See `imig.layout.placement.place`.

    Raises
    ------
    ValueError
        When references and boxes differ in number, or are more than 255.
    """
    if len(references) != len(boxes) or len(references) > MAX_REFERENCES:
        raise ValueError(
            f"{len(references)} references and {len(boxes)} boxes: need as many, at most "
            f"{MAX_REFERENCES}"
        )
    canvas = Image.new("RGB", size, background)
    owner = Image.new("L", size)
    for index in order:
        reference = references[index]
        placed = place(
            reference.image,
            reference.mask,
            box=boxes[index],
            canvas_size=size,
            fit=reference.fit,
            subject_box=reference.subject_box,
            anchor=reference.anchor,
            resizer=resizer,
        )
        corner = (placed.left, placed.top)
        canvas.paste(placed.image, corner, placed.mask)
        owner.paste(index + 1, corner, placed.mask)
    return Layout(np.asarray(canvas), np.asarray(owner))

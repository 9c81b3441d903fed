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


def compose_layout(
    references: Sequence[LayoutReference],
    boxes: Sequence[Rectangle],
    order: Sequence[int],
    *,
    size: tuple[int, int],
    resizer: Resizer = "torch",
) -> NDArray[np.uint8]:
    """Place every reference into its box and stack them: the layout image, (height, width, 3).

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
        When references and boxes differ in number.
    """
    if len(references) != len(boxes):
        raise ValueError(f"{len(references)} references and {len(boxes)} boxes: need as many")
    canvas = Image.new("RGB", size, MID_GREY)
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
        canvas.paste(placed.image, (placed.left, placed.top), placed.mask)
    return np.asarray(canvas)

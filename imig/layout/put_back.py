"""A picture stretched to a rectangle of the canvas, sampled on the canvas's own pixel grid.

`imig.layout.placement` rounds position and size to whole pixels, as the released trainer does. For
a crop that goes back where it was cut out that is too coarse: a small subject that is a pixel off
has moved noticeably.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.layout.composition import LayoutReference
from imig.layout.placement import Rectangle

_NEARLY = 1e-6  # pixels; the last bit of a scaled box must not cost a row


def put_back(
    image: Image.Image,
    mask: NDArray[np.bool_],
    *,
    place: Rectangle,
    canvas_size: tuple[int, int],
) -> tuple[LayoutReference, Rectangle]:
    """The part of a reference that covers whole pixels of the canvas, and which these are.

    Parameters
    ----------
    image, mask:
        RGB and (height, width) of the same size.
    place:
        Pixels of the canvas that the whole image fills; it may reach beyond the canvas.
    canvas_size:
        (width, height).
    """
    x1, y1, x2, y2 = place
    left, top = max(math.ceil(x1 - _NEARLY), 0), max(math.ceil(y1 - _NEARLY), 0)
    right = min(math.floor(x2 + _NEARLY), canvas_size[0])
    bottom = min(math.floor(y2 + _NEARLY), canvas_size[1])
    if right <= left or bottom <= top:  # smaller than a pixel, or off the canvas
        return LayoutReference(image, mask, fit="image-fit"), place
    size = (right - left, bottom - top)
    x = image.width / (x2 - x1)  # pixels of the image in one of the canvas
    y = image.height / (y2 - y1)
    source = (
        max((left - x1) * x, 0.0),
        max((top - y1) * y, 0.0),
        min((right - x1) * x, image.width),
        min((bottom - y1) * y, image.height),
    )
    lanczos = Image.Resampling.LANCZOS
    coverage = Image.fromarray(mask.view(np.uint8) * np.uint8(255))
    filled = LayoutReference(
        image.resize(size, lanczos, box=source),
        np.asarray(coverage.resize(size, lanczos, box=source)) > 127,
        fit="instance-fit-distort",
        subject_box=(0, 0, *size),
    )
    return filled, (left, top, right, bottom)

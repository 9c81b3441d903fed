"""An aligned face: turned upright, scaled so that eyes and mouth lie at fixed places, cut out.

No face parsing is at hand, so what belongs to the head is a fixed ellipse in the aligned frame:
hair, ears and chin are in it, and at its edge some background beside the neck. The subject's own
mask cuts that away where it is known.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from imig.layout.masks import Mask, mask_to_box
from imig.schema import Box

TEMPLATE: Final = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""Landmarks in a square of 512 (eyes, nose, corners of the mouth; left as the viewer sees it):
those of facexlib's `FaceRestoreHelper`, after FFHQ (MIT licence)."""
TEMPLATE_SIDE: Final = 512

HEAD: Final = (60.0, 16.0, 452.0, 508.0)
"""Bounds of the ellipse in the template's frame (our choice): the middle is the nose's bridge, the
half axes are 1.6 times the distance of the eyes wide and 1.9 times high."""

MID_GREY: Final = 128
"""Under the transparent pixels, for readers that drop the alpha channel."""


@dataclass(frozen=True)
class AlignedFace:
    """A square RGBA picture, alpha 0 or 255."""

    image: Image.Image
    subject_box: Box
    """Bounds of what is not transparent."""
    face_box: Box
    """The detector's box, as it lies in this picture."""

    def png(self) -> bytes:
        buffer = io.BytesIO()
        self.image.save(buffer, "PNG")
        return buffer.getvalue()


def align_face(
    image: Image.Image,
    mask: Mask | None,
    *,
    landmarks: NDArray[np.float32],
    box: Box,
    side: int,
) -> AlignedFace | None:
    """Cut a face out of a picture; None where the mask leaves nothing of it.

    Parameters
    ----------
    image:
        RGB.
    mask:
        The subject in pixels of `image`; None: all of it.
    landmarks:
        (5, 2) x, y, see `TEMPLATE`.
    box:
        The face in pixels of `image`.
    side:
        Of the square, in pixels.
    """
    scale = side / TEMPLATE_SIDE
    a, b = similarity(np.asarray(landmarks, np.float64), TEMPLATE * scale)
    seen = np.ones((image.height, image.width), bool) if mask is None else mask
    alpha = _warp(Image.fromarray(seen).convert("L"), a, b, side=side)
    visible = (np.asarray(alpha) > 127) & _head(side)
    bounds = mask_to_box(visible)
    face_box = _moved(box, a, b, side=side)
    if bounds is None or face_box is None:
        return None
    pixels = np.array(_warp(image.convert("RGB"), a, b, side=side))
    pixels[~visible] = MID_GREY
    picture = Image.fromarray(np.dstack([pixels, np.where(visible, 255, 0).astype(np.uint8)]))
    return AlignedFace(image=picture, subject_box=bounds, face_box=face_box)


def similarity(points: NDArray[Any], wanted: NDArray[Any]) -> tuple[complex, complex]:
    """The turn, scale and shift that bring points nearest to others: ``wanted = a * points + b``.

    Points (n, 2) are taken as complex numbers x + iy, so `a` is turn and scale, `b` the shift; the
    squares of the remaining distances are least.
    """
    z = points[:, 0] + 1j * points[:, 1]
    w = wanted[:, 0] + 1j * wanted[:, 1]
    centred = z - z.mean()
    spread = max(float((abs(centred) ** 2).sum()), 1e-12)
    a = complex((centred.conj() * (w - w.mean())).sum() / spread)
    return a, complex(w.mean() - a * z.mean())


def _warp(image: Image.Image, a: complex, b: complex, *, side: int) -> Image.Image:
    """The picture under ``w = a z + b``, cut to a square; black beyond the picture's edges."""
    # Bicubic looks at 4 x 4 pixels: what shrinks by more than half is first averaged.
    factor = max(1, math.floor(1 / max(abs(a), 1e-6)))
    shrunk = image.reduce(factor) if factor > 1 else image
    a *= factor
    # Pillow asks where each pixel of the answer comes from: z = (w - b) / a.
    inverse, shift = 1 / a, -b / a
    data = (inverse.real, -inverse.imag, shift.real, inverse.imag, inverse.real, shift.imag)
    return shrunk.transform(
        (side, side), Image.Transform.AFFINE, data, resample=Image.Resampling.BICUBIC
    )


def _head(side: int) -> Mask:
    scale = side / TEMPLATE_SIDE
    canvas = Image.new("1", (side, side))
    ImageDraw.Draw(canvas).ellipse([value * scale for value in HEAD], fill=1)
    return np.array(canvas)


def _moved(box: Box, a: complex, b: complex, *, side: int) -> Box | None:
    """The box's centre moved and its sides scaled, not turned, clipped; None where outside.

    Faces in a target have boxes that stand upright, and aligned faces are put into layouts by the
    ratio of the two areas (`imig.layout.placement.aligned_face_box`): the bounds of a turned box
    would be too large for that.
    """
    centre = a * complex((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) + b
    half_width, half_height = (box[2] - box[0]) / 2 * abs(a), (box[3] - box[1]) / 2 * abs(a)
    x1, y1 = max(round(centre.real - half_width), 0), max(round(centre.imag - half_height), 0)
    x2, y2 = min(round(centre.real + half_width), side), min(round(centre.imag + half_height), side)
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None

"""Placing references: where on the canvas a subject goes, and its pixels there.

Three fits (released trainer, REFERENCE 3.4): `instance-fit`, `instance-fit-distort`, `image-fit`.
In all of them the subject is cut out of the reference first, resized and put on the canvas; only
the part that lands on the canvas is computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.layout.boxes import lies_within
from imig.layout.masks import mask_to_box

Resizer = Literal["torch", "pillow"]
Fit = Literal["instance-fit", "instance-fit-distort", "image-fit"]
Rectangle = tuple[float, float, float, float]
"""``(x1, y1, x2, y2)`` in pixels like a box, but it may reach beyond the image."""


@dataclass(frozen=True)
class Anchor:
    """A point of the subject that must lie on a point of the canvas, e.g. the centres of a face."""

    subject: tuple[float, float]
    """(y, x), each in [0, 1] of the subject's cut-out (not of the whole reference)."""
    canvas: tuple[float, float]
    """(y, x), each in [0, 1] of the canvas."""


@dataclass(frozen=True)
class Placement:
    """Where the cut-out goes: it fills this rectangle, of which parts may lie off the canvas."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class PlacedReference:
    """The pixels that land on the canvas; both images are equally large and may be 0 x 0."""

    image: Image.Image
    """RGB."""
    mask: Image.Image
    """Of mode "1": pasting through it takes a fifth of the time that "L" takes."""
    left: int
    top: int


def scaled(box: Rectangle, scale: tuple[float, float]) -> Rectangle:
    """The box in a picture that is (x, y) times as large."""
    x, y = scale
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def clipped(box: Rectangle, size: tuple[int, int]) -> Rectangle:
    """The part of the box within a picture of that (width, height)."""
    x1, y1, x2, y2 = box
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(size[0])), min(y2, float(size[1]))


def subject_cut(mask: NDArray[np.bool_], subject_box: Rectangle | None = None) -> Rectangle | None:
    """What is cut out: the mask's bounding box, joined with the subject box where one is given.

    None when there is neither. (The released code loses the last row and column of the mask here.)
    """
    box = mask_to_box(mask)
    if box is None or subject_box is None:
        return box or subject_box
    first, second = np.array(box), np.array(subject_box)
    x1, y1 = np.minimum(first, second)[:2].tolist()
    x2, y2 = np.maximum(first, second)[2:].tolist()
    return x1, y1, x2, y2


def plan_placement(
    cut: Rectangle,
    *,
    image_size: tuple[int, int],
    box: Rectangle,
    canvas_size: tuple[int, int],
    fit: Fit,
    anchor: Anchor | None = None,
) -> Placement:
    """Where the cut-out of a reference goes.

    `instance-fit` scales the cut-out to the box's area, aspect kept, centred on the box;
    `instance-fit-distort` stretches it to the box; `image-fit` scales it as the whole reference
    must be scaled to fit inside the box, and leaves it where it is in the reference, whose centre
    is put on the box's. An anchor, where given, replaces the centring afterwards; with one an
    `image-fit` whose box reaches beyond the canvas is no larger than that its subject would stay on
    the canvas without the anchor, as in the released trainer (faces have such boxes). Without one
    the canvas cuts it off.

    Parameters
    ----------
    cut:
        See `subject_cut`; pixels of the reference.
    image_size, canvas_size:
        (width, height) of the reference and of the canvas.
    box:
        Pixels of the canvas.
    """
    cut_width, cut_height = cut[2] - cut[0], cut[3] - cut[1]
    box_width, box_height = box[2] - box[0], box[3] - box[1]
    if fit == "image-fit":
        limit = math.inf
        if anchor is not None or lies_within(box, (0, 0, *canvas_size)):
            limit = _scale_on_canvas(cut, image_size=image_size, box=box, canvas_size=canvas_size)
        left, top, width, height = _fit_image(cut, image_size=image_size, box=box, limit=limit)
    else:
        if fit == "instance-fit-distort":
            scale_x, scale_y = box_width / cut_width, box_height / cut_height
        else:
            scale_x = scale_y = math.sqrt(box_width * box_height / (cut_width * cut_height))
        width = max(1, _floor(cut_width * scale_x))
        height = max(1, _floor(cut_height * scale_y))
        left = _floor((box[0] + box[2]) / 2) - width // 2
        top = _floor((box[1] + box[3]) / 2) - height // 2
    if anchor is not None:
        left = round(anchor.canvas[1] * canvas_size[0]) - round(anchor.subject[1] * width)
        top = round(anchor.canvas[0] * canvas_size[1]) - round(anchor.subject[0] * height)
    return Placement(left, top, width, height)


def _fit_image(
    cut: Rectangle, *, image_size: tuple[int, int], box: Rectangle, limit: float
) -> tuple[int, int, int, int]:
    """Left, top, width and height of the cut-out where the whole image fits inside the box.

    Centres and edges are whole pixels and the scale is that of the image's whole height: so the
    released trainer rounds, and at small sizes a pixel is much of a subject.
    """
    width, height = image_size
    scale = min((box[2] - box[0]) / width, (box[3] - box[1]) / height, limit)
    scale = max(1, _floor(height * scale)) / height
    centre_x, centre_y = _floor((box[0] + box[2]) / 2), _floor((box[1] + box[3]) / 2)
    left = _floor(centre_x + (cut[0] - width // 2) * scale)
    top = _floor(centre_y + (cut[1] - height // 2) * scale)
    right = _floor(centre_x + (cut[2] - width // 2) * scale)
    bottom = _floor(centre_y + (cut[3] - height // 2) * scale)
    return left, top, max(1, right - left), max(1, bottom - top)


def _floor(value: float) -> int:
    """Round down, but 21.999999999 is 22: the last bit must not decide."""
    return math.floor(value + _NEARLY)


_NEARLY = 1e-6


def _scale_on_canvas(
    cut: Rectangle, *, image_size: tuple[int, int], box: Rectangle, canvas_size: tuple[int, int]
) -> float:
    """The largest scale at which the subject of an image whose centre is the box's stays on the
    canvas: the least of all ratios that are positive, as the released trainer has it.
    """
    limit = math.inf
    for axis in (0, 1):
        middle, centre = image_size[axis] // 2, _floor((box[axis] + box[axis + 2]) / 2)
        for room in (-centre, canvas_size[axis] - centre):
            for reach in (cut[axis] - middle, cut[axis + 2] - middle):
                if reach and room / reach > 0:
                    limit = min(limit, room / reach)
    return limit


def place(
    image: Image.Image,
    mask: NDArray[np.bool_],
    *,
    box: Rectangle,
    canvas_size: tuple[int, int],
    fit: Fit,
    subject_box: Rectangle | None = None,
    anchor: Anchor | None = None,
    resizer: Resizer = "torch",
) -> PlacedReference:
    """Cut a reference's subject out, resize it, and say where on the canvas it goes.

    Parameters
    ----------
    image, mask:
        RGB reference and its subject's mask, of the same size.
    subject_box:
        Joined with the mask's bounding box to make the cut-out (edited references have one).
    resizer:
        ``torch`` is several times faster; ``pillow`` does not import it, which takes seconds. The
        outermost pixels differ: Pillow mixes in what lies beyond the cut.

    Raises
    ------
    ValueError
        When image and mask differ in size.
    """
    if image.size != mask.shape[::-1]:
        raise ValueError(f"image is {image.size}, its mask {mask.shape[::-1]} (width, height)")
    cut = subject_cut(mask, subject_box)
    if cut is None:
        return _nothing()
    plan = plan_placement(
        cut, image_size=image.size, box=box, canvas_size=canvas_size, fit=fit, anchor=anchor
    )
    return resample(image, mask, cut, plan, canvas_size=canvas_size, resizer=resizer)


def resample(
    image: Image.Image,
    mask: NDArray[np.bool_],
    cut: Rectangle,
    plan: Placement,
    *,
    canvas_size: tuple[int, int],
    mask_threshold: float = 0.5,
    resizer: Resizer = "torch",
) -> PlacedReference:
    """The pixels of a planned placement, as far as they land on the canvas.

    `mask_threshold` is the share of a resized pixel that the mask must cover; the released code
    takes any (0).
    """
    left, top = max(plan.left, 0), max(plan.top, 0)
    right = min(plan.left + plan.width, canvas_size[0])
    bottom = min(plan.top + plan.height, canvas_size[1])
    if left >= right or top >= bottom:
        return _nothing()
    step_x, step_y = (cut[2] - cut[0]) / plan.width, (cut[3] - cut[1]) / plan.height
    source = (
        max(cut[0] + (left - plan.left) * step_x, 0.0),
        max(cut[1] + (top - plan.top) * step_y, 0.0),
        min(cut[0] + (right - plan.left) * step_x, float(image.width)),
        min(cut[1] + (bottom - plan.top) * step_y, float(image.height)),
    )
    size = (right - left, bottom - top)
    colours = image if image.mode == "RGB" else image.convert("RGB")  # converting always copies
    if resizer == "torch" and _suits_torch(cut, plan, size):
        pixels = _resized(colours.crop(cut), (plan.width, plan.height))
        if pixels.size != size:
            x, y = left - plan.left, top - plan.top
            pixels = pixels.crop((x, y, x + size[0], y + size[1]))
    else:
        pixels = colours.resize(size, _BILINEAR, box=source, reducing_gap=2.0)
    coverage = Image.fromarray(mask.view(np.uint8) * np.uint8(255))
    coverage = coverage.resize(size, _BILINEAR, box=source, reducing_gap=2.0)
    covered = np.asarray(coverage) > np.uint8(mask_threshold * 255)
    return PlacedReference(pixels, Image.fromarray(covered), left, top)


_BILINEAR = Image.Resampling.BILINEAR  # antialiased when it shrinks


def _suits_torch(cut: Rectangle, plan: Placement, size: tuple[int, int]) -> bool:
    """PyTorch's resampler knows whole pixels only, and no part of a picture."""
    whole = all(float(edge).is_integer() for edge in cut)
    return whole and plan.width * plan.height <= 2 * size[0] * size[1]


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """An RGB image at another size, by PyTorch: as Pillow has it, in a quarter of the time.

    Resizing is most of what a layout costs.
    """
    from torch import from_numpy
    from torch.nn.functional import interpolate

    # the sample's axis first: a view whose strides say "channels last" takes PyTorch's fast loop
    pixels = from_numpy(np.array(image)).unsqueeze(0).permute(0, 3, 1, 2)
    resized = interpolate(pixels, size[::-1], mode="bilinear", antialias=True)
    return Image.fromarray(resized.permute(0, 2, 3, 1)[0].numpy())


def _nothing() -> PlacedReference:
    return PlacedReference(Image.new("RGB", (0, 0)), Image.new("1", (0, 0)), 0, 0)


def aligned_face_box(
    target_face: Rectangle, *, aligned_size: tuple[int, int], aligned_face: Rectangle
) -> Rectangle:
    """Where on the target an aligned face image goes, so that the faces are equally large.

    The target's face box, grown about its centre by sqrt(area of the aligned image / area of the
    face in it) (released trainer). It may reach beyond the target.
    """
    face_area = (aligned_face[2] - aligned_face[0]) * (aligned_face[3] - aligned_face[1])
    growth = math.sqrt(aligned_size[0] * aligned_size[1] / face_area)
    x1, y1, x2, y2 = target_face
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    half_width, half_height = (x2 - x1) / 2 * growth, (y2 - y1) / 2 * growth
    return (
        centre_x - half_width,
        centre_y - half_height,
        centre_x + half_width,
        centre_y + half_height,
    )


def face_anchor(
    face: Rectangle,
    *,
    cut: Rectangle,
    target_face: Rectangle,
    canvas_size: tuple[int, int],
) -> Anchor:
    """The anchor that puts the centre of the reference's face on that of the target's.

    `face` and `cut` are pixels of the reference, `target_face` of the canvas.
    """

    def centre(box: Rectangle) -> tuple[float, float]:
        return (box[1] + box[3]) / 2, (box[0] + box[2]) / 2

    (y, x), (canvas_y, canvas_x) = centre(face), centre(target_face)
    return Anchor(
        subject=((y - cut[1]) / (cut[3] - cut[1]), (x - cut[0]) / (cut[2] - cut[0])),
        canvas=(canvas_y / canvas_size[1], canvas_x / canvas_size[0]),
    )

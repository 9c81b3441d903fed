"""A layout file becomes the pictures that the model gets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.contextgen.layout_file import MAX_SIDE, LoadedLayout, pixel_scale
from imig.contextgen.picture_file import read_mask, read_picture
from imig.contextgen.presets import Preset
from imig.contextgen.sample import Box, PictureSample, ReferencePicture
from imig.errors import UsageError
from imig.layout.composition import MID_GREY, LayoutReference, compose_layout
from imig.layout.layering import layer_order
from imig.layout.placement import Rectangle, clipped, scaled, subject_cut
from imig.layout.put_back import put_back
from imig.layout.reference_size import picture_size, reference_size, resize_reference
from imig.pictures.modes import flatten
from imig.text import to_stored

SHAPE_TOLERANCE = 0.05
"""So much may the aspect of a layout image of one's own differ from the picture's."""


def layout_to_pictures(
    loaded: LoadedLayout,
    *,
    reference_side: int,
    instruction: str,
    target_width: int | None = None,
    preset: Preset | None = None,
) -> PictureSample:
    """Read the pictures of a layout file, and compose its layout image.

    Everything that reaches the model is what `imig.training.prepare` makes of the same references.

    Parameters
    ----------
    reference_side:
        References are scaled to about this squared (`imig.layout.reference_size`).
    instruction:
        What the text encoders get; ``{caption}`` in it becomes the caption. An empty caption is
        left empty, as the trainer leaves those that it drops.
    target_width:
        Scales the whole layout to this width, rounded to a multiple of 16; None: the file's own.
    preset:
        Its way with captions and its sizes of references, in the place of the training's.

    Raises
    ------
    UsageError
        When a picture is missing, does not decode, or does not fit with the others (names the
        layout file's line and key), or when `target_width` makes it too large.
    """
    layout = loaded.layout
    size = picture_size(layout.width, layout.height, target_width=target_width)
    if max(size) > MAX_SIDE:
        raise UsageError(
            f"{loaded.path} would become {size[0]} x {size[1]} pixels; {MAX_SIDE} is the most",
            cure="give a smaller --width",
        )
    across, down = pixel_scale(layout.units, (layout.width, layout.height))
    scale = (across * size[0] / layout.width, down * size[1] / layout.height)
    boxes = [scaled(one.box, scale) for one in layout.references]
    cut_outs = [read_reference(loaded, number) for number in range(len(layout.references))]
    references = []
    for entry, cut_out, box in zip(layout.references, cut_outs, boxes, strict=True):
        own = cut_out.image.size
        if preset is None:
            wanted = reference_size(*own, side=reference_side)
        else:
            wanted = preset.reference_size(own, picture=size, side=reference_side)
        image, mask = resize_reference(cut_out.image, cut_out.mask, size=wanted)
        references.append(
            ReferencePicture(image=image, mask=mask, box=clipped(box, size), name=entry.name)
        )
    caption = to_stored(layout.caption)
    if preset is not None:
        text = preset.caption_text(caption, instruction=instruction)
    else:
        text = instruction.replace("{caption}", caption) if caption else ""
    return PictureSample(
        id=loaded.path.stem,
        caption=text,
        layout=_layout_image(loaded, cut_outs, boxes, size=size),
        references=tuple(references),
    )


def _layout_image(
    loaded: LoadedLayout,
    cut_outs: list[LayoutReference],
    boxes: list[Box],
    *,
    size: tuple[int, int],
) -> NDArray[np.uint8]:
    layout = loaded.layout
    if layout.layout is not None:
        own = _read(loaded, "layout", name=layout.layout)
        aspect = own.width / own.height * layout.height / layout.width
        if abs(aspect - 1) > SHAPE_TOLERANCE:
            raise UsageError(
                f"{loaded.where('layout')}: {layout.layout} is {own.width} x {own.height}, the "
                f"picture {layout.width} x {layout.height}",
                cure="make it the picture's shape; it is scaled to the picture's size",
            )
        return np.array(flatten(own, MID_GREY).resize(size, Image.Resampling.LANCZOS))
    order = layout.order
    if order is None:
        order = layer_order(boxes, size=size, seed=layout.seed or 0)
    placed = [_placed(one, box, size=size) for one, box in zip(cut_outs, boxes, strict=True)]
    return compose_layout(
        [one for one, _ in placed], [place for _, place in placed], order, size=size
    )


def _placed(
    reference: LayoutReference, box: Box, *, size: tuple[int, int]
) -> tuple[LayoutReference, Rectangle]:
    """What to compose, and where: as given, but stretched exactly, not to whole pixels."""
    cut = subject_cut(reference.mask, reference.subject_box)
    if reference.fit != "instance-fit-distort" or cut is None:
        return reference, box
    x, y = (box[2] - box[0]) / (cut[2] - cut[0]), (box[3] - box[1]) / (cut[3] - cut[1])
    left, top = box[0] - cut[0] * x, box[1] - cut[1] * y
    width, height = reference.image.size
    place = (left, top, left + width * x, top + height * y)
    return put_back(reference.image, reference.mask, place=place, canvas_size=size)


def read_reference(loaded: LoadedLayout, number: int) -> LayoutReference:
    """A reference of a layout file at its own size, with its mask.

    Raises UsageError, which names line and key, when it cannot be read or nothing says where in it
    the subject is.
    """
    entry = loaded.layout.references[number]
    image = _read(loaded, "references", number, "image", name=entry.image)
    if entry.mask is not None:
        mask = _read_mask(loaded, number, entry.mask, image=image)
    elif image.mode != "RGBA":
        raise UsageError(
            f"{loaded.where('references', number, 'image')}: {entry.image} has no transparency, "
            "so nothing says what in it the subject is",
            cure="cut the subject out (RGBA), or give a mask: white on the subject",
        )
    else:
        mask = np.asarray(image.getchannel("A")) > 127
        if mask.all() or not mask.any():
            what = "opaque" if mask.all() else "transparent"
            raise UsageError(
                f"{loaded.where('references', number, 'image')}: {entry.image} is {what} "
                "everywhere, so nothing says what in it the subject is",
                cure="cut the subject out, or give a mask: white on the subject; white everywhere "
                "means that the whole picture is the subject",
            )
    subject_box = entry.subject_box
    if subject_box is not None:
        subject_box = scaled(subject_box, pixel_scale(loaded.layout.units, image.size))
        x1, y1, x2, y2 = subject_box
        if x1 < 0 or y1 < 0 or x2 > image.width or y2 > image.height:
            raise UsageError(
                f"{loaded.where('references', number, 'subject_box')}: reaches beyond "
                f"{entry.image}, which is {image.width} x {image.height}",
                cure="subject_box is in pixels of the reference image, box in those of the picture "
                "(with units: relative in shares of them)",
            )
    return LayoutReference(image.convert("RGB"), mask, fit=entry.fit, subject_box=subject_box)


def _read_mask(
    loaded: LoadedLayout, number: int, name: str, *, image: Image.Image
) -> NDArray[np.bool_]:
    place = loaded.where("references", number, "mask")
    mask = read_mask(loaded.file(name), place=place)
    height, width = mask.shape
    if (width, height) != image.size:
        raise UsageError(
            f"{place}: {name} is {width} x {height}, its image {image.width} x {image.height}",
            cure="a mask is as large as its image, when both are turned as their EXIF says",
        )
    return mask


def _read(loaded: LoadedLayout, *key: str | int, name: str) -> Image.Image:
    return read_picture(loaded.file(name), place=loaded.where(*key))

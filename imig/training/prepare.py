"""A scene becomes a sample: target, references and layout image at the sizes the model sees.

Everything here is a function of the scene and of the choice that was made for it; nothing is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.contextgen.sample import Box, PictureSample, ReferencePicture
from imig.errors import DataError
from imig.layout.composition import LayoutReference, compose_layout
from imig.layout.lanczos import resize_lanczos
from imig.layout.layering import layer_order
from imig.layout.placement import (
    Rectangle,
    aligned_face_box,
    clipped,
    face_anchor,
    scaled,
    subject_cut,
)
from imig.layout.put_back import put_back
from imig.layout.reference_size import picture_size, prepare_reference
from imig.schema import MAX_PIXELS
from imig.shards.views import InstanceView, ReferenceView, SceneView
from imig.training.choices import Variant, pick_references
from imig.training.recipe import DataConfig


def scene_to_pictures(
    scene: SceneView, *, variant: Variant, caption: str, config: DataConfig
) -> PictureSample:
    """Prepare one sample (REFERENCE 3.1, 3.4).

    The layout is composed from what a user of `imig generate` has at hand: `instance-fit` for
    edits, `image-fit` for the rest, and the layer order from the boxes, seeded by the scene; the
    true order in the scene's record would be missing later. References enter the layout at their
    stored resolution. A crop goes back to where it was cut out, to the pixel.

    Parameters
    ----------
    caption:
        What the text encoders get, see `imig.training.choices.caption_text`.

    Raises
    ------
    DataError
        When a picture is damaged or missing, a mask is empty, or no instance has a reference.
    """
    record = scene.record
    try:
        size = target_size(record.width, record.height, config=config)
    except ValueError as error:
        raise DataError(f"sample {record.id}: {error}") from error
    scale = (size[0] / record.width, size[1] / record.height)
    picks = pick_references(record, variant=variant, config=config)
    if not picks:
        raise DataError(f"{scene.place} has no instance with a reference to train on")
    for pick in picks:
        scene.check_boxes(instance=pick.instance, reference=pick.reference)
    parts = [
        _read_part(
            scene.instances[pick.instance],
            pick.reference,
            size=size,
            scale=scale,
            place=scene.place,
        )
        for pick in picks
    ]
    layout = compose_layout(
        [part.drawn for part in parts],
        [part.placed_at for part in parts],
        layer_order([part.box for part in parts], size=size, seed=record.seed),
        size=size,
    )
    return PictureSample(
        id=record.id,
        caption=caption,
        layout=layout,
        references=tuple(
            ReferencePicture(
                *prepare_reference(part.image, part.mask, side=config.reference_side),
                box=part.box,
                name=part.name,
            )
            for part in parts
        ),
        target=resize_lanczos(np.array(scene.target), size),
    )


def target_size(width: int, height: int, *, config: DataConfig) -> tuple[int, int]:
    """(width, height) at which a target is trained on.

    Raises
    ------
    ValueError
        When it is so much higher than wide that it would be larger than any picture.
    """
    size = picture_size(width, height, target_width=config.target_width)
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(
            f"a target of {width}x{height} pixels would have {size[0]}x{size[1]} at "
            f"data.target_width; the most are {MAX_PIXELS} pixels"
        )
    return size


@dataclass(frozen=True)
class _Part:
    """One reference of the sample at its stored resolution."""

    image: Image.Image
    mask: NDArray[np.bool_]
    drawn: LayoutReference
    placed_at: Rectangle
    """What the layout fits it to; a face's may reach beyond the target."""
    box: Box
    name: str


def _read_part(
    instance: InstanceView,
    number: int,
    *,
    size: tuple[int, int],
    scale: tuple[float, float],
    place: str,
) -> _Part:
    view = instance.references[number]
    image, mask = _image_and_mask(view, place=place)
    reference = view.record
    name = f"{reference.name} {reference.kind}"
    box = scaled(instance.record.box, scale)
    face_box = instance.record.face_box
    target_face = None if face_box is None else scaled(face_box, scale)
    if reference.kind == "crop" and reference.crop_box is not None:
        place_at = scaled(reference.crop_box, scale)
        drawn, placed_at = put_back(image, mask, place=place_at, canvas_size=size)
        return _Part(image, mask, drawn, placed_at, box, name)

    edited = reference.kind == "edit"
    subject_box = reference.subject_box if edited else None
    placed_at = box
    face = None
    if reference.face is not None:
        face = reference.face.box
        if reference.kind == "face" and reference.face.aligned_box and target_face:
            face = reference.face.aligned_box
            placed_at = aligned_face_box(target_face, aligned_size=image.size, aligned_face=face)
            box = clipped(placed_at, size)
    anchor = None
    if face is not None and target_face is not None:
        cut = subject_cut(mask, subject_box)
        assert cut is not None, "the mask is not empty"
        anchor = face_anchor(face, cut=cut, target_face=target_face, canvas_size=size)
    drawn = LayoutReference(
        image,
        mask,
        fit="instance-fit" if edited else "image-fit",
        subject_box=subject_box,
        anchor=anchor,
    )
    return _Part(image, mask, drawn, placed_at, box, name)


def _image_and_mask(view: ReferenceView, *, place: str) -> tuple[Image.Image, NDArray[np.bool_]]:
    """RGB and mask of a stored reference; what has no mask is subject all over."""
    image, mask = view.image, view.mask
    what, cure = f"{view.record.name} of {place}", "`imig validate` lists what is damaged."
    if mask is None:
        mask = np.ones((image.height, image.width), dtype=np.bool_)
    if mask.shape != (image.height, image.width):
        raise DataError(
            f"{what} is {image.width}x{image.height} pixels, its mask "
            f"{mask.shape[1]}x{mask.shape[0]}",
            cure=cure,
        )
    if not mask.any():
        raise DataError(f"the mask of {what} is empty", cure=cure)
    return image.convert("RGB"), np.ascontiguousarray(mask)

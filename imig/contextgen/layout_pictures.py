"""A layout file becomes the pictures that the model gets; a scene becomes a layout file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from imig.contextgen.layout_file import LoadedLayout, ReferenceEntry
from imig.contextgen.sample import Box, PictureSample, ReferencePicture
from imig.errors import DataError, UsageError
from imig.layout.composition import LayoutReference, compose_layout
from imig.layout.layering import layer_order
from imig.layout.placement import Fit
from imig.layout.reference_size import TOKEN, prepare_reference
from imig.schema import ReferenceKind
from imig.shards.views import InstanceView, ReferenceView, SceneView

SHAPE_TOLERANCE = 0.05
"""So much may the aspect of a layout image of one's own differ from the picture's."""


_FITS: dict[ReferenceKind, Fit] = {
    "edit": "instance-fit",
    "source": "image-fit",
    "crop": "instance-fit-distort",
}
"""By kind of reference, the preferred first; aligned faces are not placed."""
_FITTED_BY_SUBJECT_BOX: tuple[ReferenceKind, ...] = ("edit", "crop")


def layout_to_pictures(
    loaded: LoadedLayout,
    *,
    reference_side: int,
    instruction: str,
    target_width: int | None = None,
) -> PictureSample:
    """Read the pictures of a layout file, and compose its layout image.

    Parameters
    ----------
    reference_side:
        References are scaled to about this squared (`imig.layout.reference_size`).
    instruction:
        What the text encoders get; ``{caption}`` in it becomes the caption. An empty caption is
        left empty, as the trainer leaves those that it drops.
    target_width:
        Scales the whole layout to this width, rounded to a multiple of 16; None: the file's own.

    Raises
    ------
    UsageError
        When a picture is missing, does not decode, or does not fit with the others; names the
        layout file's line and key.
    """
    layout = loaded.layout
    size = picture_size(layout.width, layout.height, target_width=target_width)
    scale = (size[0] / layout.width, size[1] / layout.height)
    boxes = [_scaled(one.box, scale) for one in layout.references]
    cut_outs = [
        _read_reference(loaded, number, one) for number, one in enumerate(layout.references)
    ]
    references = []
    for entry, cut_out, box in zip(layout.references, cut_outs, boxes, strict=True):
        image, mask = prepare_reference(cut_out.image, cut_out.mask, side=reference_side)
        references.append(
            ReferencePicture(image=image, mask=mask, box=_clipped(box, size), name=entry.name)
        )
    caption = " ".join(layout.caption.split())
    return PictureSample(
        id=loaded.path.stem,
        caption=instruction.replace("{caption}", caption) if caption else "",
        layout=_layout_image(loaded, cut_outs, boxes, size=size),
        references=tuple(references),
    )


def picture_size(width: int, height: int, *, target_width: int | None = None) -> tuple[int, int]:
    """(width, height) of the picture: multiples of 16 next to the given, or to the scaled ones."""
    scale = 1.0 if target_width is None else target_width / width
    new_width, new_height = (
        max(round(side * scale / TOKEN), 1) * TOKEN for side in (width, height)
    )
    return new_width, new_height


def scene_to_layout_file(scene: SceneView, folder: Path) -> Path:
    """Write a scene of a dataset as a layout file with its pictures; returns the JSON's path.

    One reference an instance: its edit before its source before its crop; instances without any are
    left out. They are placed as in training: edits by `instance-fit`, sources by `image-fit`
    (REFERENCE 3.4), crops stretched back to where they were cut out. Writes ``<id>.json`` and
    ``<id>-<reference>.png`` (RGBA) into the folder, which must exist.

    Raises
    ------
    DataError
        When no instance has a reference with a mask.
    OSError
        When the folder cannot be written to.
    """
    chosen = [(one, _chosen_reference(one)) for one in scene.instances]
    drawn = [(one, reference) for one, reference in chosen if reference is not None]
    record = scene.record
    if not drawn:
        raise DataError(
            f"scene {record.id} has no reference with a mask, so there is nothing to place",
            cure="choose another scene; `imig preview ID` shows what a scene has",
        )
    entries: list[dict[str, Any]] = []
    for instance, reference in drawn:
        name = f"{record.id}-{reference.record.name}.png"
        _cut_out_picture(reference).save(folder / name)
        entry = {
            "name": instance.record.phrase,
            "image": name,
            "box": list(instance.record.box),
            "fit": _FITS[reference.record.kind],
        }
        if reference.record.kind in _FITTED_BY_SUBJECT_BOX:
            entry["subject_box"] = list(reference.record.subject_box)
        entries.append(entry)
    size = (record.width, record.height)
    boxes = [instance.record.box for instance, _ in drawn]
    layout = {
        "caption": record.caption,
        "width": record.width,
        "height": record.height,
        "references": entries,
        # As the trainer stacks them: from the boxes, not from what the scene knows to be true.
        "order": layer_order(boxes, size=size, seed=record.seed),
        "seed": 0,
    }
    path = folder / f"{record.id}.json"
    path.write_text(_json_text(layout), encoding="utf-8")
    return path


def _json_text(layout: dict[str, Any]) -> str:
    """Indented, but with the numbers of a box in one line, for people who edit it."""
    text = json.dumps(layout, indent=1, ensure_ascii=False)
    # Strings have no raw line breaks, so only lists match.
    return (
        re.sub(r"\[\n([-\d.,\s]+)\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"
    )


def _chosen_reference(instance: InstanceView) -> ReferenceView | None:
    preferred = list(_FITS)
    usable = [
        one
        for one in instance.references
        if one.record.kind in preferred and one.mask is not None and one.mask.any()
    ]
    return min(usable, key=lambda one: preferred.index(one.record.kind), default=None)


def _cut_out_picture(reference: ReferenceView) -> Image.Image:
    """RGBA; what is transparent keeps its colours, so that the picture can be cut out anew."""
    picture = reference.image.convert("RGB")
    assert reference.mask is not None
    picture.putalpha(Image.fromarray(reference.mask.astype(np.uint8) * np.uint8(255)))
    return picture


def _layout_image(
    loaded: LoadedLayout,
    cut_outs: list[LayoutReference],
    boxes: list[Box],
    *,
    size: tuple[int, int],
) -> NDArray[np.uint8]:
    layout = loaded.layout
    if layout.layout is not None:
        own = _open(loaded, "layout", name=layout.layout)
        aspect = own.width / own.height * size[1] / size[0]
        if abs(aspect - 1) > SHAPE_TOLERANCE:
            raise UsageError(
                f"{loaded.where('layout')}: {layout.layout} is {own.width} x {own.height}, the "
                f"picture {layout.width} x {layout.height}",
                cure="make it the picture's shape; it is scaled to the picture's size",
            )
        return np.array(own.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    order = layout.order
    if order is None:
        order = layer_order(boxes, size=size, seed=layout.seed or 0)
    return compose_layout(cut_outs, boxes, order, size=size).image


def _read_reference(loaded: LoadedLayout, number: int, entry: ReferenceEntry) -> LayoutReference:
    image = _open(loaded, "references", number, "image", name=entry.image)
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
        x1, y1, x2, y2 = subject_box
        if x1 < 0 or y1 < 0 or x2 > image.width or y2 > image.height:
            raise UsageError(
                f"{loaded.where('references', number, 'subject_box')}: reaches beyond "
                f"{entry.image}, which is {image.width} x {image.height}",
                cure="subject_box is in pixels of the reference image, box in those of the picture",
            )
    return LayoutReference(image.convert("RGB"), mask, fit=entry.fit, subject_box=subject_box)


def _read_mask(
    loaded: LoadedLayout, number: int, name: str, *, image: Image.Image
) -> NDArray[np.bool_]:
    picture = _open(loaded, "references", number, "mask", name=name)
    place = loaded.where("references", number, "mask")
    if picture.size != image.size:
        raise UsageError(
            f"{place}: {name} is {picture.width} x {picture.height}, its image {image.width} x "
            f"{image.height}",
            cure="a mask is as large as its image",
        )
    grey = np.asarray(picture.convert("L"))
    mask = np.asarray(grey > 127)
    if not mask.any():
        raise UsageError(
            f"{place}: {name} is empty: no pixel is brighter than half, the brightest is "
            f"{int(grey.max())} of 255",
            cure="a mask is white (255) on the subject",
        )
    return mask


def _open(loaded: LoadedLayout, *key: str | int, name: str) -> Image.Image:
    """An upright picture, RGBA where it has transparency of any kind, else RGB."""
    path = loaded.file(name)
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            if picture.mode.startswith("I;16"):
                # 16-bit greys, which PIL would cut off at 255 instead of scaling them.
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    except FileNotFoundError:
        raise UsageError(
            f"{loaded.where(*key)}: there is no picture {path}",
            cure="paths are relative to the layout file",
        ) from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # PIL raises SyntaxError for some damaged PNGs.
        raise UsageError(f"{loaded.where(*key)}: {path} is no readable picture: {error}") from error


def _scaled(box: Box, scale: tuple[float, float]) -> Box:
    x, y = scale
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def _clipped(box: Box, size: tuple[int, int]) -> Box:
    width, height = size
    return max(box[0], 0.0), max(box[1], 0.0), min(box[2], width), min(box[3], height)

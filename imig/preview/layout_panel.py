"""The layout image that a scene's references give."""

from __future__ import annotations

import numpy as np
from PIL import Image

from imig.layout.composition import LayoutReference, compose_layout
from imig.layout.layering import layer_order
from imig.shards.views import InstanceView, SceneView


def draw_layout(scene: SceneView, *, width: int) -> Image.Image | None:
    """The layout `width` pixels wide, None where no instance has a reference with a mask.

    One reference an instance, its last `edit` before a `crop`; fits as the released trainer chooses
    them: `instance-fit` for edits, `image-fit` for the rest.
    """
    drawn = [
        (one, reference)
        for one, reference in ((one, _layout_reference(one)) for one in scene.instances)
        if reference is not None
    ]
    if not drawn:
        return None
    record = scene.record
    scale = width / record.width
    size = (width, max(1, round(record.height * scale)))
    boxes = [
        (
            one.record.box[0] * scale,
            one.record.box[1] * scale,
            one.record.box[2] * scale,
            one.record.box[3] * scale,
        )
        for one, _ in drawn
    ]
    if record.layer_order:
        rank = {index: place for place, index in enumerate(record.layer_order)}
        order = sorted(range(len(drawn)), key=lambda i: rank[drawn[i][0].record.index])
    else:
        order = layer_order(boxes, size=size, seed=record.seed)
    layout = compose_layout([reference for _, reference in drawn], boxes, order, size=size)
    return Image.fromarray(layout.image)


def _layout_reference(instance: InstanceView) -> LayoutReference | None:
    """The reference that stands for an instance in the layout; aligned faces are not placed."""
    rank = {"edit": 0, "source": 1, "crop": 2}
    usable = [
        one for one in instance.references if one.record.kind in rank and one.mask is not None
    ]
    if not usable:
        return None
    chosen = min(usable, key=lambda one: rank[one.record.kind])
    edited = chosen.record.kind == "edit"
    mask = np.zeros((1, 1), dtype=bool) if chosen.mask is None else chosen.mask
    return LayoutReference(
        chosen.image,
        mask,
        fit="instance-fit" if edited else "image-fit",
        subject_box=chosen.record.subject_box if edited else None,
    )

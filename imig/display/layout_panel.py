"""The layout image that a scene's references give."""

from __future__ import annotations

from PIL import Image

from imig.layout.composition import LayoutReference, compose_layout
from imig.layout.layering import layer_order
from imig.layout.placement import Rectangle, scaled
from imig.layout.put_back import put_back
from imig.shards.views import InstanceView, ReferenceView, SceneView


def draw_layout(scene: SceneView, *, width: int) -> Image.Image | None:
    """The layout `width` pixels wide, None where no instance has a reference with a mask.

    One reference an instance, placed as in training (`imig.training.prepare`): edits by
    `instance-fit`, crops where they were cut out, the rest by `image-fit`. They are stacked in the
    scene's own order, where it has one.
    """
    chosen = [(one, one.reference_to_place()) for one in scene.instances]
    drawn = [(one, reference) for one, reference in chosen if reference is not None]
    if not drawn:
        return None
    for owner, view in drawn:
        scene.check_boxes(instance=owner.record.index, reference=owner.references.index(view))
    record = scene.record
    factor = width / record.width
    scale = (factor, factor)
    size = (width, max(1, round(record.height * factor)))
    if record.layer_order:
        rank = {index: place for place, index in enumerate(record.layer_order)}
        order = sorted(range(len(drawn)), key=lambda i: rank[drawn[i][0].record.index])
    else:
        boxes = [scaled(one.record.box, scale) for one, _ in drawn]
        order = layer_order(boxes, size=size, seed=record.seed)
    placed = [_placed(one, reference, scale=scale, size=size) for one, reference in drawn]
    layout = compose_layout(
        [reference for reference, _ in placed],
        [place for _, place in placed],
        order,
        size=size,
        resizer="pillow",
    )
    return Image.fromarray(layout)


def _placed(
    instance: InstanceView,
    reference: ReferenceView,
    *,
    scale: tuple[float, float],
    size: tuple[int, int],
) -> tuple[LayoutReference, Rectangle]:
    """What to compose, and what it is fitted to."""
    record, mask = reference.record, reference.mask
    assert mask is not None, "those without were not chosen"
    if record.kind == "crop" and record.crop_box is not None:
        place = scaled(record.crop_box, scale)
        return put_back(reference.image, mask, place=place, canvas_size=size)
    edited = record.kind == "edit"
    drawn = LayoutReference(
        reference.image,
        mask,
        fit="instance-fit" if edited else "image-fit",
        subject_box=record.subject_box if edited else None,
    )
    return drawn, scaled(instance.record.box, scale)

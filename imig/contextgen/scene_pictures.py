"""A scene of a dataset as an opened layout: what `imig bench` draws."""

from __future__ import annotations

import numpy as np

from imig.contextgen.layout_file import LayoutFile, ReferenceEntry
from imig.contextgen.layout_pictures import OpenLayout
from imig.contextgen.scene_layout import nothing_to_place, placed_references, scene_to_layout
from imig.layout.composition import LayoutReference
from imig.shards.views import ReferenceView, SceneView


def open_scene(scene: SceneView) -> OpenLayout:
    """What `scene_to_layout_file` writes, without a file between.

    Raises
    ------
    DataError
        When no instance has a reference with a mask, or a picture is damaged.
    """
    drawn = placed_references(scene)
    if not drawn:
        raise nothing_to_place(scene)
    names = [{"image": reference.record.name} for _, reference in drawn]
    layout = LayoutFile.model_validate(scene_to_layout(scene, files=names))
    return OpenLayout(
        id=scene.record.id,
        layout=layout,
        references=tuple(
            _to_layout_reference(reference, entry)
            for (_, reference), entry in zip(drawn, layout.references, strict=True)
        ),
    )


def _to_layout_reference(reference: ReferenceView, entry: ReferenceEntry) -> LayoutReference:
    mask = reference.mask
    assert mask is not None, "placed_references chooses those with a mask"
    return LayoutReference(
        reference.image.convert("RGB"),
        np.ascontiguousarray(mask),
        fit=entry.fit,
        subject_box=entry.subject_box,
    )

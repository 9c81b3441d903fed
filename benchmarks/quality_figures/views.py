"""Edited views and views drawn before the target: is the subject found, masked, itself?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.quality_figures.instances import pair_instances
from benchmarks.quality_figures.truth import Truth
from imig.layout.boxes import iou as box_iou
from imig.layout.masks import mask_iou, mask_to_box
from imig.models.families.tabletop import edit_truth
from imig.models.protocols import EditRequest, Origin
from imig.tabletop.alone import subject_alone

MEANING = {
    "view box IoU": "subject boxes of edited or drawn views",
    "view mask IoU": "masks of edited or drawn views",
    "view is the instance": "edited views that show the very thing of the target",
}


@dataclass
class ViewTally:
    """Sums over the views of the written scenes."""

    box_ious: list[float] = field(default_factory=list)
    mask_ious: list[float] = field(default_factory=list)
    edits: int = 0
    right_edits: int = 0

    def add(self, scene: Any, truth: Truth) -> None:
        """Add the views of one written scene."""
        shown = {i: truth.rendered.instances[j] for i, j, _ in pair_instances(scene, truth)}
        for instance in scene.instances:
            for view in instance.references:
                if view.kind == "edit":
                    identity, mask = _edit_truth(scene, instance, view)
                    self.edits += 1
                    real = shown.get(instance.index)
                    self.right_edits += real is not None and real.identity == identity
                    self._compare(view.mask, mask)
                elif view.kind == "source":
                    self._compare(view.mask, _source_truth(view))

    def _compare(self, stored: np.ndarray, true: np.ndarray) -> None:
        if stored.shape != true.shape:
            self.mask_ious.append(0.0)
            self.box_ious.append(0.0)
            return
        self.mask_ious.append(mask_iou(stored, true))
        found, real = mask_to_box(stored), mask_to_box(true)
        known = found is not None and real is not None
        self.box_ious.append(float(box_iou([found or ()], [real or ()])[0, 0]) if known else 0.0)

    def figures(self) -> dict[str, float]:
        """By the names of `MEANING`, as far as the subset has such views."""
        if not self.mask_ious:
            return {}
        figures = {
            "view box IoU": float(np.mean(self.box_ious)),
            "view mask IoU": float(np.mean(self.mask_ious)),
        }
        if self.edits:
            figures["view is the instance"] = self.right_edits / self.edits
        return figures


def _edit_truth(scene: Any, instance: Any, view: Any) -> tuple[Any, np.ndarray]:
    request = EditRequest(
        image=scene.target,
        instruction=view.edit.instruction,
        seed=view.edit.seed,
        width=view.width,
        height=view.height,
        phrase=instance.phrase,
        origin=Origin(
            prompt=scene.source.prompt,
            seed=scene.source.seed,
            width=scene.width,
            height=scene.height,
        ),
        box=tuple(instance.box),
    )
    identity, _, mask = edit_truth(request)
    return identity, mask


def _source_truth(view: Any) -> np.ndarray:
    """The true mask of a view that was drawn before the target, cut as the view was."""
    drawing = view.drawing
    _, _, mask = subject_alone(
        drawing.prompt, width=drawing.width, height=drawing.height, seed=drawing.seed
    )
    if drawing.cut is None:
        return mask
    x1, y1, x2, y2 = drawing.cut
    return mask[y1:y2, x1:x2]

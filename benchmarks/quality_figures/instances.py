"""Boxes, masks, phrases and layers of the instances."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from benchmarks.quality_figures.truth import Truth
from imig.layout.boxes import iou as box_iou
from imig.layout.masks import mask_iou

MATCH_IOU = 0.5

MEANING = {
    "instance recall": "true instances of written scenes that are annotated",
    "instance precision": "annotated instances that are there",
    "box IoU": "mean over matched instances",
    "mask IoU": "mean over matched instances, visible part",
    "right phrase": "matched instances with exactly the true phrase",
    "right layer order": "overlapping pairs stacked as they truly are",
}


@dataclass
class InstanceTally:
    """Sums over the written scenes."""

    true: int = 0
    stored: int = 0
    box_ious: list[float] = field(default_factory=list)
    mask_ious: list[float] = field(default_factory=list)
    right_phrases: int = 0
    right_orders: int = 0
    orders: int = 0

    def add(self, scene: Any, truth: Truth) -> None:
        """Add one written scene."""
        instances = truth.rendered.instances
        self.true += len(instances)
        self.stored += len(scene.instances)
        pairs = pair_instances(scene, truth)
        for i, j, iou in pairs:
            self.box_ious.append(iou)
            self.mask_ious.append(mask_iou(scene.instances[i].mask, instances[j].mask))
            self.right_phrases += scene.instances[i].phrase == instances[j].phrase
        for a in range(len(pairs)):
            for b in range(a):
                (i, j, _), (k, m, _) = pairs[a], pairs[b]
                # The order is only visible where one thing hides a part of the other.
                if not (instances[j].full_mask & instances[m].full_mask).any():
                    continue
                self.orders += 1
                nearer = instances[j].layer > instances[m].layer
                stored = scene.instances[i].layer > scene.instances[k].layer
                self.right_orders += stored == nearer

    def figures(self) -> dict[str, float]:
        """By the names of `MEANING`."""
        matched = len(self.box_ious)
        return {
            "instance recall": matched / max(self.true, 1),
            "instance precision": matched / max(self.stored, 1),
            "box IoU": float(np.mean(self.box_ious)) if matched else 0.0,
            "mask IoU": float(np.mean(self.mask_ious)) if matched else 0.0,
            "right phrase": self.right_phrases / max(matched, 1),
            "right layer order": self.right_orders / max(self.orders, 1),
        }


def pair_instances(scene: Any, truth: Truth) -> list[tuple[int, int, float]]:
    """(stored, true, IoU of the boxes) where the IoU is at least 0.5; one to one, best total."""
    if not scene.instances:
        return []
    stored = np.array([one.box for one in scene.instances], np.float32)
    true = np.array([one.box for one in truth.rendered.instances], np.float32)
    iou = box_iou(stored, true)
    return [
        (int(i), int(j), float(iou[i, j]))
        for i, j in zip(*linear_sum_assignment(-iou), strict=True)
        if iou[i, j] >= MATCH_IOU
    ]

"""What the thresholds of a filter say of a scene: which instances stay, and whether the scene does.

The order is that of the released filter (REFERENCE 2.1). Nothing is changed here: `FilterStage`
applies a verdict, `imig refilter --report` only counts what many of them would be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imig.errors import DataError
from imig.layout.boxes import iou
from imig.layout.masks import Mask, box_coverage, rle_to_mask
from imig.schema import (
    INSTANCE_BOUNDS,
    MIN_FLEXIBLE_INSTANCES,
    SCENE_BOUNDS,
    Instance,
    MaskRLE,
    Scene,
)
from imig.stages.verdict_views import view_fault

if TYPE_CHECKING:
    from imig.stages.filter import FilterConfig


@dataclass(frozen=True)
class Verdict:
    """What becomes of a scene."""

    kept: tuple[int, ...]
    """Instance indices, in their order."""
    reason: str = ""
    """Why the scene is turned down; empty where it stays."""
    figures: dict[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """A scene, and what is computed of its boxes and masks once, however often it is judged."""

    scene: Scene
    place: str | None = None
    """Where it is stored, for messages."""

    @cached_property
    def mask_coverage(self) -> list[float]:
        """The smaller share of width and height, an instance; 1 where there is no mask.

        Raises DataError when the run lengths of a mask are damaged.
        """
        return [
            1.0 if one.mask is None else min(box_coverage(self._decode(one, one.mask), one.box))
            for one in self.scene.instances
        ]

    def _decode(self, instance: Instance, mask: MaskRLE) -> Mask:
        try:
            return rle_to_mask(mask, size=(self.scene.width, self.scene.height))
        except DataError as error:
            place = self.place or f"sample {self.scene.id}"
            raise DataError(
                f"{place}: instance {instance.index}: {error.message}", cure=error.cure
            ) from error

    @cached_property
    def overlap(self) -> NDArray[np.float64]:
        """(n, n) IoU of the boxes."""
        boxes = [one.box for one in self.scene.instances]
        return iou(boxes, boxes)


def judge(measured: Measured, config: FilterConfig) -> Verdict:
    """Which instances stay, and whether the scene is turned down: fewer than `min_instances` left
    (or than its subset wants), or a figure of the scene below or above its threshold. A figure that
    was not computed fails nothing.
    """
    scene = measured.scene
    least = config.min_instances
    if scene.subset == "flexible":
        least = max(least, MIN_FLEXIBLE_INSTANCES)
    removed: Counter[str] = Counter()
    kept: list[Instance] = []
    for instance in scene.instances:
        cause = _fault(instance, measured, config)
        if cause:
            removed[cause] += 1
        else:
            kept.append(instance)
    kept, removed["duplicate_box"] = _without_duplicates(
        kept, lambda a, b: bool(measured.overlap[a.index, b.index] > config.max_duplicate_iou)
    )
    kept, removed["duplicate_identity"] = _without_duplicates(
        kept, lambda a, b: _same_identity(a, b, limit=config.max_identity_similarity)
    )
    kept.sort(key=lambda one: (-box_area(one), one.index))
    removed["more_than_max"] = len(kept[config.max_instances :])
    indices = tuple(sorted(one.index for one in kept[: config.max_instances]))
    if len(indices) < least:
        causes = {cause: number for cause, number in sorted(removed.items()) if number}
        return Verdict(
            kept=indices,
            reason="too few instances",
            figures={"instances": len(indices), "min_instances": least, **causes},
        )
    for one in SCENE_BOUNDS:
        value, threshold = one.figure.of(scene.scores), getattr(config, one.key)
        if value is not None and one.bound.turns_down(value, threshold):
            return Verdict(
                kept=indices,
                reason=one.bound.reason,
                figures={one.figure.name: value, "threshold": threshold},
            )
    return Verdict(kept=indices)


def box_area(instance: Instance) -> int:
    """Pixels."""
    x1, y1, x2, y2 = instance.box
    return (x2 - x1) * (y2 - y1)


def _fault(instance: Instance, measured: Measured, config: FilterConfig) -> str:
    """Which threshold the instance fails, "" when none."""
    scene = measured.scene
    if box_area(instance) < config.min_box_area * scene.width * scene.height:
        return "small_box"
    if measured.mask_coverage[instance.index] < config.min_mask_coverage:
        return "mask_coverage"
    if instance.grounding and instance.grounding.score < config.min_grounding_score:
        return "grounding_score"
    for one in INSTANCE_BOUNDS:
        if one.bound.turns_down(one.figure.of(instance.scores), getattr(config, one.key)):
            return one.bound.reason
    return view_fault(instance, config, subset=scene.subset)


def _same_identity(a: Instance, b: Instance, *, limit: float | None) -> bool:
    similarity = a.scores.identity_similarity
    return limit is not None and similarity is not None and similarity[b.index] > limit


def _grounding_score(instance: Instance) -> float:
    return instance.grounding.score if instance.grounding else 0.0


def _without_duplicates(
    instances: Sequence[Instance], same: Callable[[Instance, Instance], bool]
) -> tuple[list[Instance], int]:
    """Of instances that are the same the one with the best grounding score, and how many went."""
    kept: list[Instance] = []
    for instance in sorted(instances, key=lambda one: (-_grounding_score(one), one.index)):
        if not any(same(instance, better) for better in kept):
            kept.append(instance)
    return kept, len(instances) - len(kept)

"""In which order a layout's references are stacked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imig.layout import boxes as box_tools


def layer_priorities(
    boxes: ArrayLike,
    *,
    size: tuple[int, int],
    seed: int,
    area_weight: float = 1.0,
    overlap_weight: float = 0.25,
    random_weight: float = 0.1,
) -> NDArray[np.float64]:
    """(n,) P = alpha * area + beta * (1 - sum of IoU) + lambda * random (paper A.2).

    `area` is a share of the canvas, `size` (width, height); the sum runs over the other boxes; the
    random number is uniform in [0, 1). The three weights are alpha, beta and lambda; their values
    are our choice: area decides, the others settle what is about equally large.
    """
    array = box_tools.as_boxes(boxes)
    areas = box_tools.area(array) / (size[0] * size[1])
    overlap = box_tools.iou(array, array)
    others = overlap.sum(axis=1) - np.diag(overlap)
    draw = np.random.default_rng(seed).random(len(array))
    priorities: NDArray[np.float64] = (
        area_weight * areas + overlap_weight * (1 - others) + random_weight * draw
    )
    return priorities


def layer_order(
    boxes: ArrayLike,
    *,
    size: tuple[int, int],
    seed: int,
    masks: Sequence[NDArray[np.bool_]] | None = None,
    area_weight: float = 1.0,
    overlap_weight: float = 0.25,
    random_weight: float = 0.1,
) -> list[int]:
    """Indices, farthest (drawn first) first: containers before what they contain, then by priority.

    A higher priority (see `layer_priorities`) is drawn earlier, so that small instances stay
    visible. Containment is that of `imig.layout.boxes.parents`, of `masks` where given.
    """
    priorities = layer_priorities(
        boxes,
        size=size,
        seed=seed,
        area_weight=area_weight,
        overlap_weight=overlap_weight,
        random_weight=random_weight,
    )
    parents = box_tools.parents(boxes, masks)
    order: list[int] = []
    waiting = set(range(len(parents)))
    while waiting:
        # `parents` has no cycles, so something is always free.
        free = [i for i in waiting if parents[i] not in waiting]
        first = max(free, key=lambda i: (priorities[i], -i))
        order.append(first)
        waiting.remove(first)
    return order

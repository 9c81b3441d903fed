"""In which order a layout's references are stacked."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imig.layout import boxes as box_tools

AREA, OVERLAP, RANDOM = 1.0, 0.25, 0.1
"""Alpha, beta and lambda of the priorities. Our choice: area decides, the others settle what is
about equally large."""


def layer_priorities(
    boxes: ArrayLike,
    *,
    size: tuple[int, int],
    seed: int,
) -> NDArray[np.float64]:
    """(n,) P = alpha * area + beta * (1 - sum of IoU) + lambda * random (paper A.2).

    `area` is a share of the canvas, `size` (width, height); the sum runs over the other boxes; the
    random number is uniform in [0, 1).
    """
    array = box_tools.as_boxes(boxes)
    areas = box_tools.area(array) / (size[0] * size[1])
    overlap = box_tools.iou(array, array)
    others = overlap.sum(axis=1) - np.diag(overlap)
    draw = np.random.default_rng(seed).random(len(array))
    priorities: NDArray[np.float64] = AREA * areas + OVERLAP * (1 - others) + RANDOM * draw
    return priorities


def layer_order(
    boxes: ArrayLike,
    *,
    size: tuple[int, int],
    seed: int,
) -> list[int]:
    """Indices, farthest (drawn first) first: containers before what they contain, then by priority.

    A higher priority (see `layer_priorities`) is drawn earlier, so that small instances stay
    visible. Containment is that of `imig.layout.boxes.parents`.
    """
    priorities = layer_priorities(boxes, size=size, seed=seed)
    parents = box_tools.parents(boxes)
    order: list[int] = []
    waiting = set(range(len(parents)))
    while waiting:
        # `parents` has no cycles, so something is always free.
        free = [i for i in waiting if parents[i] not in waiting]
        first = max(free, key=lambda i: (priorities[i], -i))
        order.append(first)
        waiting.remove(first)
    return order

"""Who stands before whom: a layer order from boxes and masks, and disjoint visible masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imig.layout.boxes import parents
from imig.layout.masks import Mask, mask_area
from imig.schema import Box


def layer_order(boxes: Sequence[Box], masks: Sequence[Mask]) -> list[int]:
    """Instance indices, farthest first.

    Of two instances whose boxes overlap, the one whose mask owns more of the contested region (the
    boxes' intersection) is nearer; with equal shares, the one that reaches lower in the picture.
    A contained instance always comes after its parent (REFERENCE 3.4). Where such pairs make a
    ring, the order that goes against the fewest contested pixels wins. What nothing decides is
    ordered by lower edge, then by index.
    """
    count = len(boxes)
    contest = np.zeros((count, count))  # [i, j] > 0: i is nearer than j, by that many pixels
    for i in range(count):
        for j in range(i):
            margin = _contest(i, j, boxes, masks)
            contest[i, j], contest[j, i] = max(margin, 0.0), max(-margin, 0.0)
    owners = parents(boxes)
    order: list[int] = []
    left = set(range(count))
    while left:
        # Parents make no ring, so there is always one whose parent is placed.
        free = [i for i in left if owners[i] not in left]
        farthest = min(free, key=lambda i: (sum(contest[i, j] for j in left), boxes[i][3], i))
        order.append(farthest)
        left.remove(farthest)
    return order


def _contest(i: int, j: int, boxes: Sequence[Box], masks: Sequence[Mask]) -> float:
    """Positive when i is nearer than j, negative when j is, 0 when nothing decides."""
    x1, y1 = max(boxes[i][0], boxes[j][0]), max(boxes[i][1], boxes[j][1])
    x2, y2 = min(boxes[i][2], boxes[j][2]), min(boxes[i][3], boxes[j][3])
    if x1 >= x2 or y1 >= y2:
        return 0.0
    margin = mask_area(masks[i][y1:y2, x1:x2]) - mask_area(masks[j][y1:y2, x1:x2])
    # Less than a pixel: a tie decided by the lower edge must not outweigh any real contest.
    return float(margin) or 0.5 * float(np.sign(boxes[i][3] - boxes[j][3]))


def visible_masks(masks: Sequence[Mask], order: Sequence[int]) -> list[Mask]:
    """Disjoint masks: a pixel that several claim goes to the nearest."""
    taken = np.zeros_like(masks[0]) if masks else None
    visible = list(masks)
    for index in reversed(order):
        assert taken is not None
        visible[index] = masks[index] & ~taken
        taken |= masks[index]
    return visible


def occluded_fractions(
    boxes: Sequence[Box], visible: Sequence[Mask], order: Sequence[int]
) -> list[float]:
    """For each instance the share of its box that masks of higher layers cover."""
    fractions = [0.0] * len(boxes)
    nearer = np.zeros_like(visible[0]) if visible else None
    for index in reversed(order):
        assert nearer is not None
        x1, y1, x2, y2 = boxes[index]
        fractions[index] = round(float(nearer[y1:y2, x1:x2].mean()), 4)
        nearer |= visible[index]
    return fractions

"""Where labels go: beside their boxes, never on each other, never off the canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
Rectangle = tuple[int, int, int, int]
GAP = 3
"""Pixels that stay free between two labels."""


@dataclass(frozen=True)
class PlacedLabel:
    """One label's place."""

    rectangle: Rectangle
    variant: int
    """Which of the sizes offered for it was taken."""
    detached: bool
    """It does not touch its box: draw a line between them."""


def place_labels(
    boxes: Sequence[Rectangle], sizes: Sequence[Sequence[Size]], *, canvas: Size
) -> list[PlacedLabel | None]:
    """A place for each label.

    Parameters
    ----------
    boxes:
        What the labels belong to, pixels of the canvas.
    sizes:
        For each label its (width, height) variants, the fullest text first, as many for each: when
        not all labels fit in one variant, all are placed anew in the next, shorter one.
    canvas:
        (width, height).

    Returns
    -------
    None for a label that found no room even in its shortest variant.
    """
    variants = min((len(offered) for offered in sizes), default=0)
    placed: list[PlacedLabel | None] = [None] * len(boxes)
    for variant in range(variants):
        placed = _place_all(
            boxes, [offered[variant] for offered in sizes], canvas=canvas, variant=variant
        )
        if None not in placed:
            break
    return placed


def _place_all(
    boxes: Sequence[Rectangle], sizes: Sequence[Size], *, canvas: Size, variant: int
) -> list[PlacedLabel | None]:
    taken: list[Rectangle] = []
    placed: list[PlacedLabel | None] = [None] * len(boxes)
    # Small boxes choose first: their labels have the fewest places that are theirs beyond doubt.
    for index in sorted(range(len(boxes)), key=lambda i: _area(boxes[i])):
        others = [box for i, box in enumerate(boxes) if i != index]
        rectangle = _best_place(boxes[index], sizes[index], others, taken, canvas=canvas)
        if rectangle is not None:
            taken.append(rectangle)
            detached = _gap_between(np.array([rectangle]), boxes[index])[0] > 2
            placed[index] = PlacedLabel(rectangle, variant, bool(detached))
    return placed


def _best_place(
    box: Rectangle,
    size: Size,
    others: Sequence[Rectangle],
    taken: Sequence[Rectangle],
    *,
    canvas: Size,
) -> Rectangle | None:
    """The cheapest free rectangle of that size, None where there is none."""
    width, height = size
    room = np.array([canvas[0] - width, canvas[1] - height])
    if (room < 0).any():
        return None
    x1, y1, x2, y2 = box
    # Best first: on top of the box, inside its corners, below it, beside it.
    beside = np.array(
        [
            (x1, y1 - height),
            (x1, y1),
            (x1, y2),
            (x1, y2 - height),
            (x2 - width, y1 - height),
            (x2 - width, y2),
            (x2, y1),
            (x1 - width, y1),
        ]
    )
    step = max(height // 2, 4)
    columns, rows = np.meshgrid(np.arange(0, room[0] + 1, step), np.arange(0, room[1] + 1, step))
    anywhere = np.stack([columns.ravel(), rows.ravel()], axis=1)
    corners = np.clip(np.concatenate([beside, anywhere]), 0, room)
    candidates = np.concatenate([corners, corners + np.array(size)], axis=1)

    cost = np.concatenate([4.0 * np.arange(len(beside)), np.full(len(anywhere), 40.0)])
    cost += _gap_between(candidates, box)
    for other in others:
        # Lying on another instance hides it, and looks like its label.
        cost += 60.0 * _shared_area(candidates, other) / (width * height)
    for rectangle in taken:
        cost[_gap_between(candidates, rectangle) < GAP] = np.inf
    best = int(cost.argmin())
    if not np.isfinite(cost[best]):
        return None
    left, top, right, bottom = (int(value) for value in candidates[best])
    return left, top, right, bottom


def _area(box: Rectangle) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _gap_between(candidates: NDArray[np.int_], box: Rectangle) -> NDArray[np.float64]:
    """(n,) larger of the horizontal and vertical distance to a box, 0 when touching."""
    horizontal = np.maximum(box[0] - candidates[:, 2], candidates[:, 0] - box[2])
    vertical = np.maximum(box[1] - candidates[:, 3], candidates[:, 1] - box[3])
    apart = np.maximum(horizontal, vertical)
    gap: NDArray[np.float64] = np.maximum(apart, 0).astype(np.float64)
    return gap


def _shared_area(candidates: NDArray[np.int_], box: Rectangle) -> NDArray[np.float64]:
    low = np.maximum(candidates[:, :2], np.array(box[:2]))
    high = np.minimum(candidates[:, 2:], np.array(box[2:]))
    shared: NDArray[np.float64] = np.prod(np.clip(high - low, 0, None), axis=1).astype(np.float64)
    return shared

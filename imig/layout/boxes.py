"""Boxes: conversion, overlap, the clean-up of a detector's candidates, and relations.

A box is ``(x1, y1, x2, y2)`` in pixels, x2 and y2 exclusive, origin at the top left. Functions take
anything that converts to an (n, 4) array (an empty list included) and compute in float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imig.schema import Relation

CONTAINED_FRACTION = 0.9
"""Share of a box that must lie inside another one for it to count as contained (our choice)."""
MIN_IOU = 0.01
"""Of two boxes that count as overlapping (our choice)."""


def as_boxes(boxes: ArrayLike) -> NDArray[np.float64]:
    """(n, 4) float64; an empty list becomes (0, 4)."""
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def area(boxes: ArrayLike) -> NDArray[np.float64]:
    """(n,) areas; 0 for a box whose corners are out of order."""
    array = as_boxes(boxes)
    area: NDArray[np.float64] = np.prod(np.clip(array[:, 2:] - array[:, :2], 0.0, None), axis=1)
    return area


def intersection(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """(n, m) areas shared by each box of `a` with each box of `b`."""
    first, second = as_boxes(a), as_boxes(b)
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared: NDArray[np.float64] = np.prod(np.clip(bottom_right - top_left, 0.0, None), axis=2)
    return shared


def iou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """(n, m) intersection over union; 0 where both boxes are empty."""
    shared = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


_iou_matrix = iou  # for where a threshold is called `iou`


def containment(inner: ArrayLike, outer: ArrayLike) -> NDArray[np.float64]:
    """(n, m) share of each box of `inner` that lies inside each box of `outer`."""
    shared = intersection(inner, outer)
    whole = np.broadcast_to(area(inner)[:, None], shared.shape)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def lies_within(inner: Sequence[float], outer: Sequence[float]) -> bool:
    """Whether one box lies wholly inside another; edges may touch."""
    return (
        outer[0] <= inner[0]
        and outer[1] <= inner[1]
        and inner[2] <= outer[2]
        and inner[3] <= outer[3]
    )


def size_filter(
    boxes: ArrayLike,
    *,
    width: float,
    height: float,
    min_side_fraction: float,
    min_area_fraction: float,
) -> NDArray[np.bool_]:
    """(n,) True for boxes to keep.

    A box is dropped only when it is both narrow or low (a side below `min_side_fraction` of the
    image's) *and* small (area below `min_area_fraction` of the image's), as in the released
    pipeline: a long thin pen stays.
    """
    array = as_boxes(boxes)
    sides = (array[:, 2:] - array[:, :2]) / np.array([width, height], dtype=np.float64)
    thin = (sides < min_side_fraction).any(axis=1)
    small = sides[:, 0] * sides[:, 1] < min_area_fraction
    keep: NDArray[np.bool_] = ~(thin & small)
    return keep


def non_maximum_suppression(boxes: ArrayLike, scores: ArrayLike, *, iou: float) -> NDArray[np.intp]:
    """Indices that survive greedy suppression, best score first.

    A box goes when a better one overlaps it by more than `iou`; equal scores keep their order.
    """
    remaining = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    overlaps = _iou_matrix(boxes, boxes)
    kept: list[int] = []
    while remaining.size:
        best, rest = int(remaining[0]), remaining[1:]
        kept.append(best)
        remaining = rest[overlaps[best, rest] <= iou]
    return np.asarray(kept, dtype=np.intp)


def clean_boxes(
    boxes: ArrayLike,
    scores: ArrayLike,
    *,
    width: float,
    height: float,
    min_side_fraction: float = 1 / 16,
    min_area_fraction: float = 1 / 200,
    nms_iou: float = 0.625,
    max_boxes: int = 8,
) -> NDArray[np.intp]:
    """Indices of a detector's candidates to keep, best score first.

    Size filter, then greedy NMS, then the best `max_boxes`: order and constants of the released
    pipeline, with which the result agrees for boxes in pixels before any clipping or rounding.
    """
    array, values = as_boxes(boxes), np.asarray(scores, dtype=np.float64)
    large_enough = np.flatnonzero(
        size_filter(
            array,
            width=width,
            height=height,
            min_side_fraction=min_side_fraction,
            min_area_fraction=min_area_fraction,
        )
    )
    kept = non_maximum_suppression(array[large_enough], values[large_enough], iou=nms_iou)
    return large_enough[kept[:max_boxes]]


def parents(boxes: ArrayLike) -> list[int | None]:
    """For each box the smallest larger box that contains it, None where none does.

    "Larger" is strict in (area, then lower index), so two equal boxes never contain each other
    and following parents always ends.
    """
    array, areas = as_boxes(boxes), area(boxes)
    inside = containment(array, array) >= CONTAINED_FRACTION
    found: list[int | None] = []
    for i in range(len(array)):
        outer = [j for j in range(len(array)) if inside[i, j] and (areas[j], -j) > (areas[i], -i)]
        found.append(min(outer, key=lambda j: (areas[j], -j)) if outer else None)
    return found


def relations(boxes: ArrayLike) -> list[Relation]:
    """How every pair of instances lies to each other, ordered by (subject, object).

    `contains`: the subject is the object's parent (see `parents`). `overlaps`: any other pair whose
    boxes reach `MIN_IOU`, named once with the lower index as the subject.
    """
    overlap = iou(boxes, boxes)
    owners = parents(boxes)
    found: list[Relation] = []
    for i in range(len(overlap)):
        for j in range(len(overlap)):
            if i == j:
                continue
            value = round(float(min(overlap[i, j], 1.0)), 4)
            if owners[j] == i:
                found.append(Relation(kind="contains", subject=i, object=j, iou=value))
            elif i < j and owners[i] != j and overlap[i, j] >= MIN_IOU:
                found.append(Relation(kind="overlaps", subject=i, object=j, iou=value))
    return found

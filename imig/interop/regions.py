"""Regions that an annotation tool gives back, and the instances that they are of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from imig.errors import DataError
from imig.layout.boxes import iou
from imig.layout.masks import Mask, mask_to_rle
from imig.layout.polygons import polygons_to_mask
from imig.layout.run_lengths import mask_extents
from imig.schema import MAX_INSTANCES, Box, MaskRLE, Scene

LEAST_IOU = 0.5
"""Of two regions that are taken for the same thing, where nothing else says so (our choice)."""


@dataclass(frozen=True)
class Region:
    """Something that is drawn on a picture: a box or a mask."""

    box: Box | None = None
    mask: MaskRLE | None = None
    """Not empty."""
    instance: int | None = None
    """Of the scene, that it was exported from; None: drawn anew, or the tool has lost it."""
    group: str | None = None
    """Regions of the same group are of one thing."""
    label: str | None = None
    phrase: str | None = None

    @property
    def bounds(self) -> Box:
        if self.box is not None:
            return self.box
        assert self.mask is not None
        bounds = bounds_of(self.mask)
        assert bounds is not None, "a region's mask is not empty"
        return bounds


@dataclass
class Object:
    """A thing in the picture: what its regions say together."""

    box: Box | None = None
    mask: MaskRLE | None = None
    label: str | None = None
    phrase: str | None = None

    def takes(self, other: Region | Object) -> bool:
        """Whether it lacks all that the other has."""
        return not (self.box and other.box) and not (self.mask and other.mask)

    def take(self, other: Region | Object) -> None:
        self.box = self.box or other.box
        self.mask = self.mask or other.mask
        self.label = self.label or other.label
        self.phrase = self.phrase or other.phrase

    @property
    def bounds(self) -> Box:
        return Region(self.box, self.mask).bounds


def bounds_of(mask: MaskRLE) -> Box | None:
    """Tightest box around a mask that can be decoded; None for an empty one."""
    extent = mask_extents([mask])[0]
    return None if extent is None else extent.bounds


def objects_of(regions: Sequence[Region], scene: Scene) -> tuple[dict[int, Object], list[Object]]:
    """The scene's instances that came back, by index, and the things that are new.

    A mark tells which instance a region was exported from; of several with the same mark, as
    copying a region makes them, the nearest to the instance keeps it. The others, and those without
    a mark, are put together by group, then box with mask where they lie over each other, and taken
    for the instance there, if that lacks them.

    Raises
    ------
    DataError
        There are more than a scene can hold.
    """
    if len(regions) > 2 * MAX_INSTANCES:
        raise DataError(
            f"{len(regions)} regions are more than the boxes and masks of {MAX_INSTANCES} "
            "instances, the most a scene may have"
        )
    found: dict[int, Object] = {}
    loose: list[Region] = []
    boxes = [one.box for one in scene.instances]
    for region in _nearest_first(regions, boxes):
        index = region.instance
        if index is None or not 0 <= index < len(boxes):
            loose.append(region)
            continue
        there = found.setdefault(index, Object())
        if there.takes(region):
            there.take(region)
        else:
            loose.append(region)
    # In the order in which they came, whatever lies near what.
    order = {id(region): place for place, region in enumerate(regions)}
    new = _together(sorted(loose, key=lambda one: order[id(one)]))
    left = set(range(len(new)))
    for place, index in _overlapping([one.bounds for one in new], boxes):
        known = found.get(index)
        if place in left and (known is None or known.takes(new[place])):
            found.setdefault(index, Object()).take(new[place])
            left.discard(place)
    return found, [new[place] for place in sorted(left)]


def corners_to_box(corners: Iterable[float], scene: Scene) -> Box | None:
    """Corners (x1, y1, x2, y2) in pixels -> whole pixels inside the picture; None: outside of it.

    Thin ones become a pixel wide.

    Raises
    ------
    DataError
        One of them is no number.
    """
    values = [float(one) for one in corners]
    if not all(map(math.isfinite, values)):
        raise DataError(f"a box has corners that are no numbers: {values}")
    left, right = sorted((values[0], values[2]))
    top, bottom = sorted((values[1], values[3]))
    if right < 0 or bottom < 0 or left > scene.width or top > scene.height:
        return None
    x1 = min(max(round(left), 0), scene.width - 1)
    y1 = min(max(round(top), 0), scene.height - 1)
    x2 = max(min(round(right), scene.width), x1 + 1)
    y2 = max(min(round(bottom), scene.height), y1 + 1)
    return x1, y1, x2, y2


def turned_bounds(
    corners: tuple[float, float, float, float], *, about: tuple[float, float], degrees: float
) -> tuple[float, float, float, float]:
    """Bounds of a box (x1, y1, x2, y2) that is turned clockwise about a point."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x1, y1, x2, y2 = corners
    offsets = [(x - about[0], y - about[1]) for x in (x1, x2) for y in (y1, y2)]
    across = [about[0] + x * cos - y * sin for x, y in offsets]
    down = [about[1] + x * sin + y * cos for x, y in offsets]
    return min(across), min(down), max(across), max(down)


def polygon_to_mask(points: Sequence[tuple[float, float]], scene: Scene) -> MaskRLE | None:
    """The pixels inside a polygon, by COCO's rule; None where it holds none.

    Raises
    ------
    DataError
        It has fewer than three points, one that is no number, or an endless outline.
    """
    if len(points) < 3:
        raise DataError(f"a polygon has {len(points)} points; the least are 3")
    flat = np.asarray(points, dtype=np.float64)
    if not np.isfinite(flat).all():
        raise DataError("a polygon has points that are no numbers")
    flat = np.clip(flat, 0, (scene.width, scene.height))
    return non_empty(polygons_to_mask([flat.ravel().tolist()], size=(scene.width, scene.height)))


def non_empty(mask: Mask) -> MaskRLE | None:
    """Run lengths; None of a mask without a pixel."""
    return mask_to_rle(mask) if mask.any() else None


def _nearest_first(regions: Sequence[Region], boxes: Sequence[Box]) -> list[Region]:
    def near(region: Region) -> float:
        index = region.instance
        if index is None or not 0 <= index < len(boxes):
            return 0.0
        return float(iou([region.bounds], [boxes[index]])[0, 0])

    return sorted(regions, key=near, reverse=True)


def _together(regions: Sequence[Region]) -> list[Object]:
    """Things of regions without a mark."""
    objects: list[Object] = []
    groups: dict[str, Object] = {}
    for region in regions:
        known = None if region.group is None else groups.get(region.group)
        if known is not None and known.takes(region):
            known.take(region)
            continue
        one = Object()
        one.take(region)
        objects.append(one)
        if region.group is not None:
            groups[region.group] = one
    boxes = [one for one in objects if one.mask is None]
    masks = [one for one in objects if one.box is None]
    gone: set[int] = set()
    for a, b in _overlapping([one.bounds for one in boxes], [one.bounds for one in masks]):
        if id(masks[b]) not in gone and boxes[a].takes(masks[b]):
            boxes[a].take(masks[b])
            gone.add(id(masks[b]))
    return [one for one in objects if id(one) not in gone]


def _overlapping(a: Sequence[Box], b: Sequence[Box]) -> list[tuple[int, int]]:
    """Pairs (of `a`, of `b`) that may be the same thing, the best first."""
    if not a or not b:
        return []
    shared = iou(a, b)
    pairs = np.argwhere(shared >= LEAST_IOU)
    values = shared[pairs[:, 0], pairs[:, 1]]
    order = np.argsort(-values, kind="stable")
    return [(int(x), int(y)) for x, y in pairs[order]]

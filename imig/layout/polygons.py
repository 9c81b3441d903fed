"""Masks as polygons and back, for formats that have nothing else.

A ring runs along the edges of pixels: its corners are whole numbers, (0, 0) is the upper left
corner of the upper left pixel, as COCO has it. What COCO's own rasteriser makes of such a ring is
the pixels inside, so that mask -> polygons -> mask changes nothing. Where there is one ring only,
holes and further parts hang on it by seams: lines that are walked both ways and enclose nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imig.errors import DataError
from imig.layout.masks import Mask, mask_to_box
from imig.schema import MaskRLE

Ring = NDArray[np.int64]
"""(n, 2) corners, x and y, the last one joined to the first."""

MAX_OUTLINE: Final = 4_000_000
"""Pixels that the outline of one object may be long: COCO's rasteriser takes about 100 bytes for
each. Of a mask of 1,024 x 1,024 the longest possible outline has 2,100,000."""
_FROM: Final = 48  # the character that stands for 0 in COCO's strings


def mask_to_rings(mask: Mask) -> list[list[Ring]]:
    """The outlines of a mask's parts, each with those of its holes.

    Parts are what hangs together by edges of pixels; they come from top to bottom, and in each the
    outer ring is the first. An empty mask has none.
    """
    from scipy import ndimage

    box = mask_to_box(mask)
    if box is None:
        return []
    left, top, right, bottom = box
    inner = mask[top:bottom, left:right]
    labels, count = ndimage.label(inner)
    parts: list[list[Ring]] = [[] for _ in range(count)]
    for ring in _rings(inner):
        # The first corner is the upper left one, and what is below it to the right is inside.
        x, y = ring[0]
        is_outer = bool(inner[y, x])
        owner = labels[y, x] if is_outer else labels[y - 1, x]
        part = parts[owner - 1]
        part.insert(0 if is_outer else len(part), ring + np.array([left, top]))
    return parts


def join_rings(rings: Sequence[Ring]) -> Ring:
    """One ring for several: each hangs on the first, by a seam between their nearest corners."""
    from scipy.spatial import cKDTree

    first, *others = rings
    if not others:
        return first
    tree = cKDTree(first)
    hung: dict[int, list[Ring]] = {}
    for ring in others:
        distances, corners = tree.query(ring)
        there = int(np.argmin(distances))
        here = int(corners[there])
        hung.setdefault(here, []).append(np.concatenate([ring[there:], ring[: there + 1]]))
    pieces: list[Ring] = []
    begin = 0
    for here in sorted(hung):
        pieces.append(first[begin:here])
        for around in hung[here]:
            pieces += [first[here : here + 1], around]
        begin = here
    return np.concatenate([*pieces, first[begin:]])


def polygons_to_mask(polygons: Sequence[Sequence[float]], *, size: tuple[int, int]) -> Mask:
    """The pixels inside of any of some polygons, as COCO's own rasteriser has them.

    Parameters
    ----------
    polygons:
        Each ``x, y, x, y, ...`` in pixels.
    size:
        (width, height) of the picture.

    Raises
    ------
    DataError
        A polygon has fewer than three corners, or one that is no number or lies further outside of
        the picture than its size; or the outline is endless.
    """
    from pycocotools import mask as coco

    width, height = size
    rings = [_to_corners(one, size=size) for one in polygons]
    length = sum(float(np.abs(one - np.roll(one, 1, axis=0)).max(axis=1).sum()) for one in rings)
    if length > MAX_OUTLINE:
        raise DataError(f"its outline is {length:.0f} pixels long, more than {MAX_OUTLINE}")
    if not rings:
        return np.zeros((height, width), dtype=bool)
    encoded = coco.frPyObjects([one.ravel().tolist() for one in rings], height, width)
    return np.ascontiguousarray(coco.decode(coco.merge(encoded)), dtype=bool)


def run_lengths_to_rle(runs: Sequence[int], *, size: tuple[int, int]) -> MaskRLE:
    """COCO's uncompressed run lengths of a picture of `size`, (width, height), compressed.

    Raises DataError when they do not fill the picture.
    """
    width, height = size
    whole = all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in runs)
    if not whole or sum(runs) != width * height:
        raise DataError(f"its run lengths do not describe a picture of {width}x{height}")
    text = []
    for number, run in enumerate(runs):
        value = run - runs[number - 2] if number > 2 else run
        more = True
        while more:
            digit, value = value & 0x1F, value >> 5
            more = value != (-1 if digit & 0x10 else 0)
            text.append(chr(_FROM + digit + (0x20 if more else 0)))
    return MaskRLE(size=(height, width), counts="".join(text))


def mask_to_run_lengths(mask: Mask) -> list[int]:
    """COCO's uncompressed run lengths: columns from top to bottom, unset pixels first."""
    flat = mask.ravel(order="F")
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs: list[int] = np.diff(turns, prepend=0, append=flat.size).tolist()
    return [0, *runs] if flat[0] else runs


def _to_corners(polygon: Sequence[float], *, size: tuple[int, int]) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(polygon, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError("a polygon is no list of numbers") from error
    if numbers.ndim != 1 or numbers.size < 6 or numbers.size % 2:
        raise DataError("a polygon needs three corners, x and y of each")
    corners = numbers.reshape(-1, 2)
    limits = np.array(size, dtype=np.float64)
    if not (np.isfinite(corners).all() and (corners >= -limits).all()):
        raise DataError("a polygon has a corner far outside of the picture, or none")
    if not (corners <= 2 * limits).all():
        raise DataError("a polygon has a corner far outside of the picture")
    return corners


def _rings(mask: Mask) -> Iterator[Ring]:
    """Every closed line between set and unset pixels, from its upper left corner.

    A line turns at a corner where one or three of the four pixels around are set, and twice where
    two opposite ones are: each of the two turns is then around a set pixel, so that parts that
    touch there stay apart. Corners of a row, in order, are ends of lines by pairs; so are those of
    a column.
    """
    padded = np.pad(mask, 1)
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    odd = upper_left ^ upper_right ^ lower_left ^ lower_right
    opposite = (
        (upper_left == lower_right) & (upper_right == lower_left) & (upper_left != upper_right)
    )
    times = odd.astype(np.int8) + 2 * opposite.astype(np.int8)
    ys, xs = np.nonzero(times)
    repeats = times[ys, xs]
    y, x = np.repeat(ys, repeats), np.repeat(xs, repeats)  # in the order of rows
    second = np.zeros(len(x), dtype=np.int64)
    second[1:] = (x[1:] == x[:-1]) & (y[1:] == y[:-1])
    # Left of the corner belongs to the first of two turns, right to the second. Up goes with left
    # where the upper left pixel is set, else down does.
    swapped = np.repeat((opposite & upper_right)[ys, xs], repeats)
    across = np.arange(len(x)) ^ 1
    columns = np.lexsort((np.where(swapped, 1 - second, second), y, x))
    down = np.empty(len(x), dtype=np.int64)
    down[columns[0::2]], down[columns[1::2]] = columns[1::2], columns[0::2]
    left = np.ones(len(x), dtype=bool)
    across_list, down_list = across.tolist(), down.tolist()
    corners = np.stack([x, y], axis=1).astype(np.int64)
    for start in range(len(x)):
        if not left[start]:
            continue
        walked = [start]
        place = across_list[start]
        while True:
            walked.append(place)
            place = down_list[place]
            if place == start:
                break
            walked.append(place)
            place = across_list[place]
        left[walked] = False
        yield corners[walked]

"""Posed things as a camera sees them: bounds, silhouettes, depth.

Scene units: the short side of the image is 2 units. x to the right, y away from the camera, z up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imig.tabletop.primitives import (
    Bools,
    Camera,
    Floats,
    Geometry,
    Rays,
    half_extents,
    intersect,
)
from imig.tabletop.shapes import Part, Thing

Rect = tuple[int, int, int, int]
"""row0, row1, column0, column1"""


@dataclass(frozen=True)
class Posed:
    """A thing in the world: rotation (3, 3), the position of its foot point, and its scale."""

    thing: Thing
    rotation: NDArray[np.float64]
    position: tuple[float, float, float]
    scale: float


def yaw_matrix(degrees: float) -> NDArray[np.float64]:
    """Rotation about z, counter-clockwise from above."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)))


class Pack:
    """All primitives of all things in the world, stacked."""

    def __init__(self, things: Sequence[Posed]) -> None:
        self.parts: list[Part] = [part for posed in things for part in posed.thing.parts]
        self.owner: list[int] = [i for i, p in enumerate(things) for _ in p.thing.parts]
        self.members: list[range] = []
        start = 0
        maps, centres = [], []
        for posed in things:
            count = len(posed.thing.parts)
            self.members.append(range(start, start + count))
            start += count
            turn = posed.rotation * posed.scale
            maps.append(turn @ posed.thing.matrices)
            centres.append(posed.thing.centres @ turn.T + np.array(posed.position))
        self.maps = np.concatenate(maps) if maps else np.zeros((0, 3, 3))
        self.centres = np.concatenate(centres) if centres else np.zeros((0, 3))
        self.inverses = np.linalg.inv(self.maps)


class PackView:
    """The primitives of a pack as one camera sees them."""

    def __init__(self, pack: Pack, camera: Camera) -> None:
        matrix = camera.matrix()
        self.geometries: list[Geometry] = [part.geometry for part in pack.parts]
        local = (pack.inverses @ matrix.T).transpose(0, 2, 1).tolist()
        self.rays = [Rays(tuple(r), tuple(u), tuple(f)) for r, u, f in local]
        self.centres: list[list[float]] = (pack.centres @ matrix.T).tolist()
        axes = (matrix[:2] @ pack.maps).tolist()
        self.extents = [half_extents(g, a) for g, a in zip(self.geometries, axes, strict=True)]

    def grid_rect(self, index: int, us: Floats, vs: Floats, pixel: float) -> Rect:
        """Rows and columns of a grid (vs falling) that a primitive may touch."""
        uc, vc, _ = self.centres[index]
        hu, hv = self.extents[index]
        c0 = int((uc - hu - float(us[0])) / pixel)
        c1 = int((uc + hu - float(us[0])) / pixel) + 2
        r0 = int((float(vs[0]) - vc - hv) / pixel)
        r1 = int((float(vs[0]) - vc + hv) / pixel) + 2
        rows, columns = len(vs), len(us)
        return max(r0, 0), max(min(r1, rows), 0), max(c0, 0), max(min(c1, columns), 0)

    def bounds(self, members: Sequence[int]) -> tuple[float, float, float, float]:
        """(u0, u1, v0, v1) around some primitives."""
        near = [(self.centres[i], self.extents[i]) for i in members]
        return (
            min(centre[0] - half[0] for centre, half in near),
            max(centre[0] + half[0] for centre, half in near),
            min(centre[1] - half[1] for centre, half in near),
            max(centre[1] + half[1] for centre, half in near),
        )

    def hits(self, index: int, u: Floats, v: Floats) -> tuple[Floats, Bools]:
        """Distances (of the camera's axis) and hits of one primitive."""
        uc, vc, tc = self.centres[index]
        t, hit = intersect(
            self.geometries[index], self.rays[index], u - np.float32(uc), v - np.float32(vc)
        )
        t += np.float32(tc)
        return t, hit


def thing_buffers(
    view: PackView, members: range, us: Floats, vs: Floats, pixel: float
) -> tuple[Rect, Floats, NDArray[np.int16]]:
    """Depth and primitive index (-1: none) of one thing alone, in its own rectangle."""
    rects = [view.grid_rect(i, us, vs, pixel) for i in members]
    r0, r1 = min(r[0] for r in rects), max(r[1] for r in rects)
    c0, c1 = min(r[2] for r in rects), max(r[3] for r in rects)
    if r1 <= r0 or c1 <= c0:
        return (0, 0, 0, 0), np.zeros((0, 0), np.float32), np.zeros((0, 0), np.int16)
    depth = np.full((r1 - r0, c1 - c0), np.inf, np.float32)
    ids = np.full(depth.shape, -1, np.int16)
    for i, (a0, a1, b0, b1) in zip(members, rects, strict=True):
        if a1 <= a0 or b1 <= b0:
            continue
        t, hit = view.hits(i, us[None, b0:b1], vs[a0:a1, None])
        window = depth[a0 - r0 : a1 - r0, b0 - c0 : b1 - c0]
        hit &= t < window
        np.copyto(window, t, where=hit)
        np.copyto(ids[a0 - r0 : a1 - r0, b0 - c0 : b1 - c0], np.int16(i), where=hit)
    return (r0, r1, c0, c1), depth, ids


def pixel_grid(width: int, height: int) -> tuple[Floats, Floats, float]:
    """u (width,), v (height,) of the pixel centres and the size of a pixel, in scene units."""
    pixel = 2.0 / min(width, height)
    us = ((np.arange(width) + 0.5 - width / 2) * pixel).astype(np.float32)
    vs = ((height / 2 - np.arange(height) - 0.5) * pixel).astype(np.float32)
    return us, vs, pixel


def projected_bounds(
    things: Sequence[Posed], camera_elevation: float
) -> list[tuple[float, float, float, float]]:
    """For each thing (u0, u1, v0, v1), close bounds of its projection in scene units."""
    pack = Pack(things)
    view = PackView(pack, Camera.looking(0.0, camera_elevation))
    return [view.bounds(members) for members in pack.members]


def projected_extents(
    things: Sequence[Posed], camera_elevation: float
) -> list[tuple[float, float]]:
    """Width and height of each thing's projection in scene units."""
    bounds = projected_bounds(things, camera_elevation)
    return [(u1 - u0, v1 - v0) for u0, u1, v0, v1 in bounds]


def lowest_point(posed: Posed) -> float:
    """The smallest z of a thing (0 when it stands upright on the table), in scene units."""
    pack = Pack([posed])
    lows = []
    for i, part in enumerate(pack.parts):
        axes = pack.maps[i, 2].tolist()
        lows.append(pack.centres[i, 2] - half_extents(part.geometry, [axes, axes])[0])
    return float(min(lows))


def silhouettes(
    things: Sequence[Posed], camera_elevation: float, pixel: float
) -> list[tuple[Bools, int, int]]:
    """Each thing's mask alone, on an unbounded grid; with the mask's first row and column.

    The grid has its origin (row 0, column 0) at u = v = 0, rows grow downwards.
    """
    pack = Pack(things)
    view = PackView(pack, Camera.looking(0.0, camera_elevation))
    found = []
    for members in pack.members:
        u0, u1, v0, v1 = view.bounds(members)
        column, row = math.floor(u0 / pixel), math.floor(-v1 / pixel)
        columns, rows = math.ceil(u1 / pixel) - column, math.ceil(-v0 / pixel) - row
        us = ((np.arange(columns) + (column + 0.5)) * pixel).astype(np.float32)
        vs = ((np.arange(rows) + (row + 0.5)) * -pixel).astype(np.float32)
        mask = np.zeros((rows, columns), np.bool_)
        for i in members:
            a0, a1, b0, b1 = view.grid_rect(i, us, vs, pixel)
            if a1 > a0 and b1 > b0:
                mask[a0:a1, b0:b1] |= view.hits(i, us[None, b0:b1], vs[a0:a1, None])[1]
        found.append((mask, row, column))
    return found

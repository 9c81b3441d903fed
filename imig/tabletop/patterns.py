"""Stripes and dots on things: how much of the second colour there is at a point."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from imig.tabletop.primitives import ELLIPSOID, FRUSTUM, TORUS, Floats, Geometry, Vector


@lru_cache(maxsize=64)
def _sphere_dots(count: int) -> Floats:
    """Unit vectors (count, 3) spread evenly over the sphere."""
    index = np.arange(count) + 0.5
    z = 1 - 2 * index / count
    angle = index * math.pi * (3 - math.sqrt(5))
    r = np.sqrt(1 - z * z)
    return np.stack((r * np.cos(angle), r * np.sin(angle), z), axis=1).astype(np.float32)


def stripes(
    thing_axis: Vector, period: float, phase: float, points: Floats, pixel: float
) -> Floats:
    """How much of the second colour, 0..1, at points (3, n) of the thing's frame.

    A zero axis means bands around the z axis, `period` of them. `pixel` is the size of a pixel.
    """
    turns: Floats
    if thing_axis == (0.0, 0.0, 0.0):
        count = max(4, round(period))
        turns = np.arctan2(points[1], points[0])
        turns *= np.float32(count / (2 * math.pi))
        width = pixel * count / (2 * math.pi * 0.33)
    else:
        length = math.sqrt(sum(a * a for a in thing_axis))
        axis = np.array([a / (length * period) for a in thing_axis], np.float32)
        turns = axis @ points
        width = pixel / period
    turns += np.float32(phase)
    turns -= np.floor(turns)
    turns -= np.float32(0.5)
    np.abs(turns, out=turns)
    turns -= np.float32(0.27)  # light where |.| > 0.27: 46 % of the surface
    turns *= np.float32(1 / max(1.6 * width, 1e-3))
    turns += np.float32(0.5)
    np.clip(turns, 0, 1, out=turns)
    return turns


def dots(
    geometry: Geometry,
    points: Floats,
    sizes: Vector,
    spacing: float,
    phase: float,
    pixel: float,
    cap: Floats | None,
) -> Floats:
    """How much of the second colour, 0..1, at local points (3, n) of a primitive.

    Dots lie on a regular grid on its surface; `sizes` are its half axes in the thing's frame.
    """
    if geometry.shape == ELLIPSOID:
        distance = _from_dot_on_ball(points, sizes, spacing)
    elif geometry.shape == TORUS:
        distance = _from_dot_on_torus(geometry, points, sizes, spacing)
    elif geometry.shape == FRUSTUM:
        distance = _from_dot_on_frustum(geometry, points, sizes, spacing, phase)
    else:
        distance = _from_dot_on_faces(points, sizes, spacing)
    if cap is not None and geometry.shape in (FRUSTUM, TORUS):
        distance += cap * np.float32(9.0)
    distance -= np.float32(0.31 * spacing)  # the radius of a dot
    distance *= np.float32(-1 / max(1.6 * pixel, 1e-3))
    distance += np.float32(0.5)
    np.clip(distance, 0, 1, out=distance)
    return distance


def _from_dot_on_ball(points: Floats, sizes: Vector, spacing: float) -> Floats:
    """(n,) lengths along the surface from the nearest dot's centre; so do the next three."""
    mean = (sizes[0] + sizes[1] + sizes[2]) / 3
    count = max(12, min(40, round(4 * math.pi * mean**2 / (spacing**2 * 0.80))))
    best = (_sphere_dots(count) @ points).max(axis=0)
    # chord = 2 - 2 cos, so distance is close to the arc
    distance: Floats = np.sqrt(np.maximum(2 - 2 * best, 0)) * np.float32(mean)
    return distance


def _turns(points: Floats) -> Floats:
    """(n,) angles around the z axis, in turns."""
    angle: Floats = np.arctan2(points[1], points[0])
    angle *= np.float32(1 / (2 * math.pi))
    return angle


def _from_dot_on_torus(geometry: Geometry, points: Floats, sizes: Vector, spacing: float) -> Floats:
    major, minor = geometry.parameters
    rho = np.sqrt(points[0] ** 2 + points[1] ** 2) - np.float32(major)
    along = np.arctan2(points[2], rho) * np.float32(1 / (2 * math.pi))
    rows = max(3, round(2 * math.pi * minor * sizes[0] / spacing))
    columns = 2 * max(4, round(math.pi * major * sizes[0] / spacing))
    y = along * np.float32(rows) + np.float32(0.25)
    y -= np.floor(y) + np.float32(0.5)
    y *= np.float32(2 * math.pi * minor * sizes[0] / rows)
    x = _turns(points) * np.float32(columns)
    x -= np.floor(x) + np.float32(0.5)
    x *= np.float32(sizes[0]) * (rho + np.float32(major)) * np.float32(2 * math.pi / columns)
    distance: Floats = np.sqrt(x * x + y * y)
    # the narrow inner side stays plain
    distance += np.clip(rho * np.float32(-20 / minor) - np.float32(8), 0, 9)
    return distance


def _from_dot_on_frustum(
    geometry: Geometry, points: Floats, sizes: Vector, spacing: float, phase: float
) -> Floats:
    bottom, top = geometry.parameters
    slant = math.hypot(2 * sizes[2], (top - bottom) * sizes[0])
    rows = max(1, round(slant / spacing))
    y = (points[2] + 1) * np.float32(rows / 2)
    row = np.clip(np.floor(y), 0, rows - 1)
    y -= row + np.float32(0.5)
    y *= np.float32(slant / rows)
    at = (row + np.float32(0.5)) * np.float32((top - bottom) / rows) + np.float32(bottom)
    columns = np.maximum(np.round(at * np.float32(2 * math.pi * sizes[0] / spacing)), np.float32(2))
    x = _turns(points) * columns + row * np.float32(0.5) + np.float32(phase)
    x -= np.floor(x) + np.float32(0.5)
    x *= at * np.float32(2 * math.pi * sizes[0]) / columns
    distance: Floats = np.sqrt(x * x + y * y)
    return distance


def _from_dot_on_faces(points: Floats, sizes: Vector, spacing: float) -> Floats:
    """Of a polyhedron: a whole number of dots across each face."""
    width, depth, height = (np.float32(one) for one in sizes)
    axis = np.argmax(np.abs(points), axis=0)
    squares = []
    for place, extent in (
        (
            np.where(axis == 0, points[1] * depth, points[0] * width),
            np.where(axis == 0, depth, width),
        ),
        (
            np.where(axis == 2, points[1] * depth, points[2] * height),
            np.where(axis == 2, depth, height),
        ),
    ):
        pitch = 2 * extent / np.maximum(1, np.round(2 * extent / np.float32(spacing)))
        q = (place + extent) / pitch
        q -= np.floor(q) + np.float32(0.5)
        q *= pitch
        squares.append(q * q)
    distance: Floats = np.sqrt(squares[0] + squares[1])
    return distance

"""From an identity to its parts: primitives in the thing's own frame.

The thing stands on z = 0, is about one unit at its largest, faces -y and turns around the z axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imig.tabletop.identity import Identity
from imig.tabletop.primitives import ELLIPSOID, FRUSTUM, POLYHEDRON, TORUS, Geometry, Vector

Matrix = tuple[Vector, Vector, Vector]

CREAM = (0.94, 0.89, 0.78)
BROWN = (0.40, 0.26, 0.16)
DARK = (0.13, 0.13, 0.15)
STEEL = (0.62, 0.63, 0.66)
GLASS = (0.20, 0.27, 0.36)
WHITE = (0.95, 0.95, 0.93)


@dataclass(frozen=True)
class Part:
    """One primitive of a thing.

    The columns of `matrix` are the local axes (half sizes included), `centre` the local origin, in
    the thing's frame. `paint` is a fixed sRGB colour, or None for the identity's colour and
    pattern; `shade` multiplies the colour; `patterned` is False where the pattern would look silly.
    `recess` = (inner radius, depth of the floor, floor sRGB colour, glow) hollows a frustum's top.
    """

    geometry: Geometry
    matrix: Matrix
    centre: Vector
    paint: tuple[float, float, float] | None = None
    shade: float = 1.0
    patterned: bool = True
    gloss: float = 0.25
    glow: float = 0.0
    recess: tuple[float, float, tuple[float, float, float], float] | None = None


@dataclass(frozen=True)
class Thing:
    """The parts of an identity, with their placement stacked for array arithmetic."""

    identity: Identity
    parts: tuple[Part, ...]
    matrices: NDArray[np.float64]
    centres: NDArray[np.float64]
    radius: float
    """of the circle around the z axis that holds the whole thing"""
    stripe_axis: Vector
    stripe_period: float


_CUBE = tuple(
    (float(sign * (axis == 0)), float(sign * (axis == 1)), float(sign * (axis == 2)), 1.0)
    for axis in range(3)
    for sign in (-1, 1)
)


def _diagonal(x: float, y: float, z: float) -> Matrix:
    return ((x, 0.0, 0.0), (0.0, y, 0.0), (0.0, 0.0, z))


def _box(centre: Vector, size: Vector, **paint: Any) -> Part:
    half = _diagonal(size[0] / 2, size[1] / 2, size[2] / 2)
    paint.setdefault("gloss", 0.10)
    return Part(Geometry(POLYHEDRON, planes=_CUBE), half, centre, **paint)


def _ball(centre: Vector, radii: Vector, low: float = -1.0, **paint: Any) -> Part:
    return Part(Geometry(ELLIPSOID, (low, 1.0)), _diagonal(*radii), centre, **paint)


def _frustum(
    base: float, top: float, r0: float, r1: float, x: float = 0.0, y: float = 0.0, **paint: Any
) -> Part:
    """Upright, from z = base with radius r0 to z = top with radius r1."""
    r = max(r0, r1)
    return Part(
        Geometry(FRUSTUM, (r0 / r, r1 / r)),
        _diagonal(r, r, (top - base) / 2),
        (x, y, (base + top) / 2),
        **paint,
    )


def _rod(start: Vector, end: Vector, r0: float, r1: float, **paint: Any) -> Part:
    """A frustum from start to end in any direction."""
    axis = np.subtract(end, start) / 2
    w = axis / np.linalg.norm(axis)
    helper = np.array((1.0, 0, 0)) if abs(w[0]) < 0.8 else np.array((0, 1.0, 0))
    a = np.cross(w, helper)
    a /= np.linalg.norm(a)
    b = np.cross(w, a)
    r = max(r0, r1)
    columns = np.stack((a * r, b * r, axis), axis=1).tolist()
    centre = ((np.asarray(start) + np.asarray(end)) / 2).tolist()
    matrix = (tuple(columns[0]), tuple(columns[1]), tuple(columns[2]))
    return Part(Geometry(FRUSTUM, (r0 / r, r1 / r)), matrix, tuple(centre), **paint)


def _hull(centre: Vector, size: Vector, planes: Sequence[tuple[float, ...]], **paint: Any) -> Part:
    """A convex polyhedron in [-1, 1]^3 stretched to size; planes: (nx, ny, nz, distance)."""
    fixed = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in planes)
    half = _diagonal(size[0] / 2, size[1] / 2, size[2] / 2)
    return Part(Geometry(POLYHEDRON, planes=fixed), half, centre, **paint)


def _tapered(front: float, back: float, side: float) -> tuple[tuple[float, ...], ...]:
    """A box whose +x, -x and both y faces lean inwards towards the top by these amounts."""
    return (
        (1, 0, front / 2, 1 - front / 2),
        (-1, 0, back / 2, 1 - back / 2),
        (0, 1, side / 2, 1 - side / 2),
        (0, -1, side / 2, 1 - side / 2),
        (0, 0, 1, 1),
        (0, 0, -1, 1),
    )


Numbers = tuple[float, float, float, float]


def _make_ball(p: Numbers) -> list[Part]:
    return [_ball((0, 0, 0.5), (0.5, 0.5, 0.5))]


def _make_cube(p: Numbers) -> list[Part]:
    w, d, h = 0.80 + 0.06 * p[0], 0.80 + 0.06 * p[1], 0.80 + 0.07 * p[2]
    return [_box((0, 0, h / 2), (w, d, h))]


def _make_cone(p: Numbers) -> list[Part]:
    r, h = 0.42 + 0.06 * p[0], 0.98 + 0.10 * p[1]
    return [_frustum(0, h, r, 0.025)]


def _make_duck(p: Numbers) -> list[Part]:
    head = 0.215 + 0.02 * p[0]
    neck = 0.62 + 0.04 * p[1]
    eye: dict[str, Any] = {"paint": DARK, "gloss": 0.8}
    parts = [
        _ball((0.02, 0, 0.27), (0.46, 0.32, 0.28 + 0.02 * p[2])),
        _ball((-0.24, 0, neck), (head, head, head)),
        _rod((0.30, 0, 0.33), (0.53, 0, 0.56), 0.17, 0.03),
        _ball((-0.47, 0, neck - 0.05), (0.13, 0.11, 0.045), paint=(0.98, 0.66, 0.10), gloss=0.4),
    ]
    for side in (-1, 1):
        parts.append(_ball((-0.345, side * 0.135, neck + 0.075), (0.043, 0.043, 0.05), **eye))
        parts.append(
            _ball((0.08, side * 0.28, 0.33), (0.25, 0.075, 0.15), shade=0.85, patterned=False)
        )
    return parts


def _make_ring(p: Numbers) -> list[Part]:
    minor = 0.34 + 0.05 * p[0]
    major = 1.0 - minor
    r = 0.5
    return [Part(Geometry(TORUS, (major, minor)), _diagonal(r, r, r), (0, 0, r * minor))]


def _make_mug(p: Numbers) -> list[Part]:
    r, h = 0.335 + 0.03 * p[0], 0.78 + 0.07 * p[1]
    foot = r * (0.90 + 0.06 * p[2])
    body = _frustum(0, h, foot, r, recess=(0.86, 0.22, (0.22, 0.12, 0.07), 0.0))
    size = 0.255 + 0.02 * p[3]
    handle = Part(
        Geometry(TORUS, (0.76, 0.24)),
        ((size * 0.86, 0.0, 0.0), (0.0, 0.0, size), (0.0, size, 0.0)),
        (r * 0.97 + 0.03, 0, h * 0.5),
        patterned=False,
    )
    return [handle, body]


def _make_bottle(p: Numbers) -> list[Part]:
    r, body = 0.215 + 0.02 * p[0], 0.58 + 0.05 * p[1]
    neck = 0.075 + 0.01 * p[2]
    return [
        _frustum(0, body, r, r),
        _ball((0, 0, body), (r, r, 0.15), low=0.0),
        _frustum(body + 0.08, 0.93, neck * 1.15, neck),
        _frustum(0.91, 1.02, neck * 1.25, neck * 1.25, paint=(0.80, 0.66, 0.42), gloss=0.05),
    ]


def _make_house(p: Numbers) -> list[Part]:
    w, d, h = 0.72 + 0.05 * p[0], 0.60 + 0.05 * p[1], 0.46 + 0.05 * p[2]
    roof_h = 0.36 + 0.05 * p[3]
    gable = (
        (1.0, 0, 0, 1.0), (-1.0, 0, 0, 1.0), (0, 0, -1.0, 1.0),
        (0, 1.0, 0.5, 0.5), (0, -1.0, 0.5, 0.5),
    )  # fmt: skip
    window: dict[str, Any] = {"paint": GLASS, "gloss": 0.9}
    return [
        _box((0, 0, h / 2), (w, d, h)),
        _hull(
            (0, 0, h + roof_h / 2),
            (w + 0.10, d + 0.14, roof_h),
            gable,
            shade=0.55,
            patterned=False,
            gloss=0.04,
        ),
        _box((w * 0.25, d * 0.18, h + roof_h * 0.72), (0.11, 0.11, 0.34), paint=(0.50, 0.42, 0.40)),
        _box((-w * 0.18, 0, 0.15), (0.17, d + 0.025, 0.30), paint=(0.33, 0.21, 0.14)),
        _box((w * 0.2, 0, 0.27), (0.18, d + 0.025, 0.17), **window),
        _box((0, 0, 0.27), (w + 0.025, 0.19, 0.17), **window),
    ]


def _make_car(p: Numbers) -> list[Part]:
    length, width = 0.98, 0.46 + 0.02 * p[0]
    body_h, cabin_h = 0.215 + 0.02 * p[1], 0.19 + 0.02 * p[2]
    floor = 0.085
    top = floor + body_h
    shift = 0.05 + 0.03 * p[3]
    wheel = 0.115
    parts = [
        _hull((0, 0, floor + body_h / 2), (length, width, body_h), _tapered(0.10, 0.07, 0.10)),
        _hull(
            (shift, 0, top + cabin_h / 2), (0.60, width * 0.88, cabin_h),
            _tapered(0.42, 0.58, 0.32), paint=GLASS, gloss=0.9,
        ),
        _box((shift - 0.03, 0, top + cabin_h), (0.37, width * 0.70, 0.05)),
    ]  # fmt: skip
    for x in (-0.29, 0.29):
        for side in (-1, 1):
            outer = side * (width / 2 + 0.02)
            parts.append(
                _rod((x, outer - side * 0.12, wheel), (x, outer, wheel), wheel, wheel,
                     paint=DARK, gloss=0.1, recess=(0.55, 0.02, STEEL, 0.0))
            )  # fmt: skip
    for side in (-1, 1):
        y = side * width * 0.33
        parts.append(_ball((-length / 2 + 0.01, y, top - 0.08), (0.03, 0.055, 0.045), paint=WHITE,
                           glow=0.3))  # fmt: skip
        parts.append(_ball((length / 2 - 0.015, y, top - 0.08), (0.025, 0.055, 0.035),
                           paint=(0.6, 0.05, 0.05)))  # fmt: skip
    return parts


def _make_tree(p: Numbers) -> list[Part]:
    r = 0.40 + 0.03 * p[0]
    trunk = 0.20 + 0.03 * p[1]
    step = 0.25 + 0.015 * p[2]
    height = 0.36
    parts = [_frustum(0, trunk + 0.05, 0.085, 0.07, paint=BROWN, gloss=0.02)]
    for level, (wide, tip) in enumerate(((1.0, 0.40), (0.80, 0.28), (0.58, 0.02))):
        base = trunk + level * step
        parts.append(_frustum(base, base + height, r * wide, r * tip))
    return parts


def _make_mushroom(p: Numbers) -> list[Part]:
    cap_r, cap_h = 0.47 + 0.03 * p[0], 0.42 + 0.05 * p[1]
    stem_h = 0.40 + 0.05 * p[2]
    stem_r = 0.15 + 0.02 * p[3]
    return [
        _frustum(0, stem_h + 0.05, stem_r * 1.25, stem_r, paint=CREAM, gloss=0.05),
        _ball((0, 0, stem_h), (cap_r, cap_r, cap_h), low=-0.12),
    ]


def _make_chair(p: Numbers) -> list[Part]:
    w, seat = 0.52 + 0.03 * p[0], 0.44 + 0.03 * p[1]
    high = 0.56 + 0.04 * p[2]
    leg = 0.075
    parts = [
        _box((0, 0, seat), (w, w, 0.10)),
        _box((0, w / 2 - 0.045, seat + high / 2), (w, 0.09, high)),
    ]
    offset = w / 2 - leg / 2 - 0.005
    return parts + [
        _box((x, y, seat / 2), (leg, leg, seat), shade=0.72, patterned=False)
        for x in (-offset, offset)
        for y in (-offset, offset)
    ]


def _make_lamp(p: Numbers) -> list[Part]:
    bottom, top = 0.37 + 0.03 * p[0], 0.20 + 0.03 * p[1]
    shade_h, z = 0.42 + 0.03 * p[2], 0.55
    metal: dict[str, Any] = {"paint": (0.30, 0.27, 0.25), "gloss": 0.7}
    return [
        _frustum(0, 0.07, 0.24, 0.20, **metal),
        _frustum(0.05, z + 0.05, 0.035, 0.035, **metal),
        _ball((0, 0, 0.17), (0.09, 0.09, 0.11), **metal),
        _frustum(
            z, z + shade_h, bottom, top, recess=(0.88, 0.05, (1.0, 0.92, 0.70), 1.0), glow=0.10
        ),
    ]


def _make_boat(p: Numbers) -> list[Part]:
    h, width = 0.25 + 0.02 * p[0], 0.40 + 0.03 * p[1]
    mast = 0.98 + 0.04 * p[2]
    hull = (
        (0, 0, 1.0, 1.0), (0, 0, -1.0, 1.0),
        (0, 1.0, -0.20, 0.80), (0, -1.0, -0.20, 0.80), (1.0, 0, -0.10, 0.90),
        (-1.0, 1.0, -0.25, 1.05), (-1.0, -1.0, -0.25, 1.05),
        (-1.0, 0.0, -0.28, 0.78),
    )  # fmt: skip
    sail = (
        (0, 0, -1.0, 1.0), (-1.0, 0, 0, 1.0), (1.0, 0, 1.0, 1.0),
        (0, 1.0, 0.45, 0.55), (0, -1.0, 0.45, 0.55),
    )  # fmt: skip
    foot = h + 0.07
    return [
        _hull((0, 0, h / 2), (0.98, width, h), hull),
        _hull((0.0, 0, h + 0.004), (0.70, width * 0.62, 0.03),
              ((0, 0, 1.0, 1), (0, 0, -1.0, 1), (0, 1.0, 0, 1), (0, -1.0, 0, 1), (1.0, 0, 0, 1),
               (-1.0, 1.0, 0, 1.2), (-1.0, -1.0, 0, 1.2)), paint=(0.72, 0.52, 0.32)),
        _frustum(h, mast + 0.03, 0.022, 0.016, x=-0.05, paint=BROWN),
        _hull((0.165, 0, (foot + mast) / 2), (0.40, 0.10, mast - foot), sail),
        _hull((-0.21, 0, (foot + mast * 0.86) / 2), (0.26, 0.07, mast * 0.86 - foot),
              tuple((-a, b, c, d) for a, b, c, d in sail), paint=WHITE, gloss=0.05),
    ]  # fmt: skip


_MAKERS: dict[str, Callable[[Numbers], list[Part]]] = {
    "ball": _make_ball, "cube": _make_cube, "cone": _make_cone, "duck": _make_duck,
    "ring": _make_ring, "mug": _make_mug, "bottle": _make_bottle, "house": _make_house,
    "car": _make_car, "tree": _make_tree, "mushroom": _make_mushroom, "chair": _make_chair,
    "lamp": _make_lamp, "boat": _make_boat,
}  # fmt: skip

# direction of the stripes (across the bands) and the length of one light-dark pair
_STRIPES: dict[str, tuple[Vector, float]] = {
    "ball": ((0.35, 0.15, 0.92), 0.30),
    "cube": ((0.45, 0.30, 0.84), 0.30),
    "cone": ((0.0, 0.0, 1.0), 0.30),
    "duck": ((0.30, 0.22, 0.93), 0.22),
    "ring": ((0.0, 0.0, 0.0), 6.0),
    "mug": ((0.0, 0.0, 1.0), 0.25),
    "bottle": ((0.0, 0.0, 1.0), 0.25),
    "house": ((0.0, 0.0, 1.0), 0.19),
    "car": ((0.70, 0.55, 0.45), 0.24),
    "tree": ((0.0, 0.0, 1.0), 0.24),
    "mushroom": ((0.30, 0.15, 0.94), 0.20),
    "chair": ((0.35, 0.38, 0.86), 0.24),
    "lamp": ((0.0, 0.0, 1.0), 0.17),
    "boat": ((0.48, 0.35, 0.80), 0.22),
}


@lru_cache(maxsize=512)
def build_thing(identity: Identity) -> Thing:
    """The parts of an identity, centred so that the thing turns around its own middle."""
    parts = tuple(_MAKERS[identity.kind](identity.proportions))
    matrices = np.array([part.matrix for part in parts])
    centres = np.array([part.centre for part in parts], np.float64)
    reach_x = np.abs(matrices[:, 0]).sum(1)
    low = float((centres[:, 0] - reach_x).min())
    high = float((centres[:, 0] + reach_x).max())
    centres[:, 0] -= (low + high) / 2
    radius = 0.0
    for part, matrix, centre in zip(parts, matrices, centres, strict=True):
        if part.geometry.shape == POLYHEDRON:
            x = abs(centre[0]) + float(np.abs(matrix[0]).sum())
            y = abs(centre[1]) + float(np.abs(matrix[1]).sum())
            # corners of hulls are mostly cut off
            reach = (
                math.hypot(x, y)
                if part.geometry.planes == _CUBE
                else max(x, y, 0.93 * math.hypot(x, y))
            )
        else:
            reach = math.hypot(centre[0], centre[1]) + max(
                math.sqrt(float((row**2).sum())) for row in matrix[:2]
            )
        radius = max(radius, reach)
    axis, period = _STRIPES[identity.kind]
    return Thing(identity, parts, matrices, centres, radius, axis, period * identity.pattern_scale)

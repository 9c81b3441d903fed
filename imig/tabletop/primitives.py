"""Analytic primitives under an orthographic camera.

Every primitive is convex (but the torus) and lives in the cube [-1, 1]^3 of its own frame; an
affine map places it in the world. Because all rays of a camera are parallel, each bounding surface
gives the distance along the ray as a linear form, or a linear form plus the root of a quadratic
form, in the image coordinates (u, v): a few array operations a primitive, on a grid (u a row, v a
column) or on a list of rays (u and v of equal length).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Vector = tuple[float, float, float]
Linear = tuple[float, float, float]
"""constant, factor of u, factor of v"""

ELLIPSOID, FRUSTUM, POLYHEDRON, TORUS = range(4)


@dataclass(frozen=True)
class Camera:
    """Orthographic: world = u * right + v * up + t * forward, all three orthonormal."""

    right: Vector
    up: Vector
    forward: Vector

    @classmethod
    def looking(cls, azimuth_degrees: float, elevation_degrees: float) -> Camera:
        """Look at the origin from the azimuth (0: from the front, -y) and elevation given."""
        a, e = math.radians(azimuth_degrees), math.radians(elevation_degrees)
        ca, sa, ce, se = math.cos(a), math.sin(a), math.cos(e), math.sin(e)
        return cls((ca, sa, 0.0), (-sa * se, ca * se, ce), (-sa * ce, ca * ce, -se))

    def matrix(self) -> NDArray[np.float64]:
        """Rows right, up, forward: maps world points to (u, v, t)."""
        return np.array((self.right, self.up, self.forward))


@dataclass(frozen=True)
class Geometry:
    """The shape of a primitive in its own frame.

    ELLIPSOID (low, high): the unit ball between z = low and z = high;
    FRUSTUM (bottom, top): radii at z = -1 and z = 1, at most 1;
    TORUS (major, minor): around z, major + minor = 1;
    POLYHEDRON: `planes`, rows (normal, distance): points with normal . p <= distance.
    """

    shape: int
    parameters: tuple[float, float] = (0.0, 0.0)
    planes: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True)
class Rays:
    """The rays of one camera in one primitive's frame: local = u*right + v*up + t*forward.

    u, v and t are relative to the primitive's centre.
    """

    right: Vector
    up: Vector
    forward: Vector


def half_extents(geometry: Geometry, axes: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Half the width and height of a projected primitive; axes: camera u and v rows times map."""
    found = []
    for x, y, z in axes:
        if geometry.shape == ELLIPSOID:
            found.append(math.sqrt(x * x + y * y + z * z))
        elif geometry.shape == POLYHEDRON:
            found.append(abs(x) + abs(y) + abs(z))
        elif geometry.shape == FRUSTUM:
            found.append(max(geometry.parameters) * math.hypot(x, y) + abs(z))
        else:
            minor = geometry.parameters[1]
            found.append(
                geometry.parameters[0] * math.hypot(x, y) + minor * math.sqrt(x * x + y * y + z * z)
            )
    return found[0], found[1]


def _linear(form: Linear, u: Floats, v: Floats) -> Floats:
    return (u * np.float32(form[1]) + np.float32(form[0])) + v * np.float32(form[2])


def _product(a: Linear, b: Linear) -> tuple[float, ...]:
    """Coefficients of 1, u, v, uu, vv, uv in the product of two linear forms."""
    return (
        a[0] * b[0],
        a[0] * b[1] + a[1] * b[0],
        a[0] * b[2] + a[2] * b[0],
        a[1] * b[1],
        a[2] * b[2],
        a[1] * b[2] + a[2] * b[1],
    )


def _quadratic(c: Sequence[float], u: Floats, v: Floats) -> Floats:
    row = u * (u * np.float32(c[3]) + np.float32(c[1])) + np.float32(c[0])
    column = v * (v * np.float32(c[4]) + np.float32(c[2]))
    if abs(c[5]) < 1e-9:
        return row + column
    result: Floats = (v * np.float32(c[5])) * u
    result += row
    result += column
    return result


def _slab(rays: Rays, low: float, high: float, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Where the rays enter and leave low <= z <= high."""
    dz = rays.forward[2]
    if abs(dz) < 1e-5:
        dz = 1e-5
    base = (0.0, -rays.right[2] / dz, -rays.up[2] / dz)
    first, last = (low / dz, high / dz) if dz > 0 else (high / dz, low / dz)
    return (
        _linear((first, base[1], base[2]), u, v),
        _linear((last, base[1], base[2]), u, v),
    )


def intersect(geometry: Geometry, rays: Rays, u: Floats, v: Floats) -> tuple[Floats, Bools]:
    """Distance of the first hit along each ray, and whether there is one (else it is arbitrary).

    u and v: float32 relative to the centre, (1, w) and (h, 1), or both (n,).
    """
    if geometry.shape == POLYHEDRON:
        return _intersect_polyhedron(geometry, rays, u, v)
    if geometry.shape == TORUS:
        return _intersect_torus(geometry, rays, u, v)
    (ux, uy, uz), (vx, vy, vz), (dx, dy, dz) = rays.right, rays.up, rays.forward
    x, y, z = (0.0, ux, vx), (0.0, uy, vy), (0.0, uz, vz)
    if geometry.shape == ELLIPSOID:
        low, high = geometry.parameters
        a = dx * dx + dy * dy + dz * dz
        b = (0.0, ux * dx + uy * dy + uz * dz, vx * dx + vy * dy + vz * dz)
        parts = [_product(f, f) for f in (x, y, z)]
        c = [p + q + r for p, q, r in zip(*parts, strict=True)]
        c[0] -= 1.0
    else:
        bottom, top = geometry.parameters
        low, high = -1.0, 1.0
        mean, slope = (bottom + top) / 2, (top - bottom) / 2
        w = (mean, slope * uz, slope * vz)
        a = dx * dx + dy * dy - slope * slope * dz * dz
        if abs(a) < 1e-4 * (dx * dx + dy * dy + dz * dz):
            a = 1e-4 * (dx * dx + dy * dy + dz * dz)
        b = (
            -mean * slope * dz,
            ux * dx + uy * dy - slope * slope * uz * dz,
            vx * dx + vy * dy - slope * slope * vz * dz,
        )
        parts = [_product(f, f) for f in (x, y, w)]
        c = [p + q - r for p, q, r in zip(*parts, strict=True)]
    bb = _product(b, b)
    discriminant = _quadratic([(p - a * q) / (a * a) for p, q in zip(bb, c, strict=True)], u, v)
    hit = discriminant > 0
    root = np.sqrt(np.maximum(discriminant, np.float32(0)))
    middle = _linear((-b[0] / a, -b[1] / a, -b[2] / a), u, v)
    if geometry.shape == ELLIPSOID and low <= -1.0 and high >= 1.0:
        middle -= root
        return middle, hit
    enter, leave = _slab(rays, low, high, u, v)
    if a > 0:
        np.maximum(enter, middle - root, out=enter)
        np.minimum(leave, middle + root, out=leave)
    elif (slope > 0) == (
        dz > 0
    ):  # steep ray, along the widening of the cone: enters at the far root
        np.maximum(enter, middle + root, out=enter)
    else:
        np.minimum(leave, middle - root, out=leave)
    hit &= enter < leave
    return enter, hit


def _intersect_polyhedron(
    geometry: Geometry, rays: Rays, u: Floats, v: Floats
) -> tuple[Floats, Bools]:
    (ux, uy, uz), (vx, vy, vz), (dx, dy, dz) = rays.right, rays.up, rays.forward
    enter: Floats | None = None
    leave: Floats | None = None
    for nx, ny, nz, distance in geometry.planes:
        along = nx * dx + ny * dy + nz * dz
        if abs(along) < 1e-5:
            along = -1e-5
        form = (
            distance / along,
            -(nx * ux + ny * uy + nz * uz) / along,
            -(nx * vx + ny * vy + nz * vz) / along,
        )
        t = _linear(form, u, v)
        if along < 0:
            enter = t if enter is None else np.maximum(enter, t, out=enter)
        else:
            leave = t if leave is None else np.minimum(leave, t, out=leave)
    assert enter is not None
    assert leave is not None
    return enter, enter < leave


def _intersect_torus(geometry: Geometry, rays: Rays, u: Floats, v: Floats) -> tuple[Floats, Bools]:
    """Sphere tracing from the slab |z| <= minor, only where the bounding cylinder is hit."""
    major, minor = geometry.parameters
    shape = np.broadcast_shapes(u.shape, v.shape)
    (dx, dy, dz) = rays.forward
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    # entry into the bounding ball flattened to the slab
    ball, inside = intersect(Geometry(ELLIPSOID, (-minor * 1.001, minor * 1.001)), rays, u, v)
    where = np.flatnonzero(inside)
    t = np.ascontiguousarray(ball).reshape(-1)[where]
    uu = np.broadcast_to(u, shape).reshape(-1)[where]
    vv = np.broadcast_to(v, shape).reshape(-1)[where]
    x0 = uu * np.float32(rays.right[0]) + vv * np.float32(rays.up[0])
    y0 = uu * np.float32(rays.right[1]) + vv * np.float32(rays.up[1])
    z0 = uu * np.float32(rays.right[2]) + vv * np.float32(rays.up[2])
    gap = np.zeros_like(t)
    fx, fy, fz = np.float32(dx), np.float32(dy), np.float32(dz)
    for _ in range(14):
        x = t * fx
        x += x0
        y = t * fy
        y += y0
        z = t * fz
        z += z0
        x *= x
        y *= y
        x += y
        np.sqrt(x, out=x)
        x -= np.float32(major)
        x *= x
        z *= z
        x += z
        gap = np.sqrt(x, out=x)
        gap -= np.float32(minor)
        t += gap * np.float32(1.0 / length)
    near = gap < 0.02 * minor + 0.004
    distance = np.zeros(shape, np.float32)
    hit = np.zeros(shape, np.bool_)
    distance.reshape(-1)[where] = t
    hit.reshape(-1)[where] = near
    return distance, hit


def normals(
    geometry: Geometry, points: Floats, bevel: float, sizes: Vector
) -> tuple[Floats, Floats | None]:
    """Outward normals (3, n), not normalised, at surface points (3, n), all in the local frame.

    `sizes` are the lengths of the local axes in the world and `bevel` the width over which edges
    are rounded. Also how much of each point belongs to a cap or cut (frustum, ellipsoid), or None.
    """
    if geometry.shape == ELLIPSOID:
        low, high = geometry.parameters
        if low <= -1.0 and high >= 1.0:
            return points, None
        cut = np.clip((low + 0.02 - points[2]) * np.float32(50), 0, 1)
        result = points * (1 - cut)
        result[2] -= cut
        return result, cut
    if geometry.shape == TORUS:
        rho = np.sqrt(points[0] ** 2 + points[1] ** 2)
        rho += np.float32(1e-6)
        factor = 1 - np.float32(geometry.parameters[0]) / rho
        result = points.copy()
        result[0] *= factor
        result[1] *= factor
        return result, None
    if geometry.shape == FRUSTUM:
        bottom, top = geometry.parameters
        mean, slope = (bottom + top) / 2, (top - bottom) / 2
        rho = np.sqrt(points[0] ** 2 + points[1] ** 2)
        rho += np.float32(1e-6)
        inward = (np.float32(mean) + np.float32(slope) * points[2] - rho) * np.float32(sizes[0])
        inward -= (1 - np.abs(points[2])) * np.float32(sizes[2])
        inward *= np.float32(0.5 / bevel)
        cap = np.clip(inward + np.float32(0.5), 0, 1)
        result = np.empty_like(points)
        # work with lengths of the world so that the blend is even, then back to local covectors
        side = (1 - cap) / rho
        result[0] = points[0] * side
        result[1] = points[1] * side
        result[2] = np.sign(points[2]) * cap * np.float32(sizes[2] / sizes[0])
        result[2] -= np.float32(slope) * (1 - cap)
        return result, cap
    planes = np.array(geometry.planes, np.float32)
    away = planes[:, :3] @ points
    away -= planes[:, 3:]
    scale = np.linalg.norm(planes[:, :3] / np.array(sizes, np.float32), axis=1)
    away *= (1.0 / (scale * bevel)).astype(np.float32)[:, None]
    weights = np.exp(np.maximum(away, np.float32(-12.0)))
    unit = (planes[:, :3] / scale[:, None]).astype(np.float32)
    return unit.T @ weights, None

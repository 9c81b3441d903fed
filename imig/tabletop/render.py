"""Draws posed things on a table: exact masks, shading, shadows, anti-aliased edges.

Scene units: the short side of the image is 2 units. x to the right, y away from the camera, z up.
Colours are float32 linear light until the last step (display = square root).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imig.tabletop import surfaces
from imig.tabletop.primitives import (
    FRUSTUM,
    Camera,
    Geometry,
    Rays,
    half_extents,
    intersect,
    normals,
)
from imig.tabletop.shapes import Part, Thing
from imig.tabletop.surfaces import Backdrop, Colour, Floats

Bools = NDArray[np.bool_]
Rect = tuple[int, int, int, int]
"""row0, row1, column0, column1"""


@dataclass(frozen=True)
class Lighting:
    """A mood's light: linear colours times strength."""

    key: Colour
    sky: Colour
    bounce: Colour
    rim: Colour
    elevation: tuple[float, float]
    vignette: float
    softness: float


LIGHTINGS: dict[str, Lighting] = {
    "daylight": Lighting(
        (1.02, 0.99, 0.92), (0.44, 0.48, 0.54), (0.30, 0.28, 0.25), (0.10, 0.11, 0.13),
        (46, 62), 0.10, 0.020),
    "golden hour": Lighting(
        (1.26, 1.03, 0.77), (0.45, 0.44, 0.45), (0.30, 0.25, 0.20), (0.34, 0.22, 0.10),
        (24, 33), 0.22, 0.022),
    "overcast": Lighting(
        (0.34, 0.35, 0.36), (0.76, 0.78, 0.80), (0.36, 0.36, 0.36), (0.05, 0.05, 0.06),
        (58, 72), 0.10, 0.070),
    "night lamp": Lighting(
        (1.24, 1.07, 0.82), (0.24, 0.24, 0.28), (0.17, 0.14, 0.11), (0.16, 0.14, 0.12),
        (40, 55), 0.62, 0.030),
    "studio": Lighting(
        (0.88, 0.88, 0.88), (0.54, 0.54, 0.55), (0.36, 0.36, 0.36), (0.26, 0.26, 0.28),
        (48, 64), 0.16, 0.045),
    "neon": Lighting(
        (0.98, 0.80, 1.00), (0.36, 0.40, 0.52), (0.26, 0.20, 0.30), (0.16, 0.60, 0.74),
        (36, 52), 0.34, 0.035),
    "moonlight": Lighting(
        (0.80, 0.86, 1.00), (0.31, 0.33, 0.40), (0.15, 0.16, 0.20), (0.16, 0.19, 0.26),
        (38, 54), 0.32, 0.025),
    "morning": Lighting(
        (0.86, 0.82, 0.72), (0.54, 0.57, 0.56), (0.34, 0.35, 0.30), (0.20, 0.19, 0.14),
        (30, 42), 0.10, 0.040),
}  # fmt: skip


@dataclass(frozen=True)
class Posed:
    """A thing in the world: rotation (3, 3), the position of its foot point, and its scale."""

    thing: Thing
    rotation: NDArray[np.float64]
    position: tuple[float, float, float]
    scale: float


@dataclass(frozen=True)
class Stage:
    """Everything about a picture but its things."""

    width: int
    height: int
    mood: str
    backdrop: Backdrop
    camera_elevation: float
    light_azimuth: float
    light_elevation: float
    streak: float = 0.0
    """Length of the horizontal motion blur of the backdrop, in scene units."""


@dataclass
class Drawing:
    """The picture and, for each thing in the order given, its full and visible mask."""

    image: NDArray[np.uint8]
    full_masks: list[Bools]
    visible_masks: list[Bools]


def yaw_matrix(degrees: float) -> NDArray[np.float64]:
    """Rotation about z, counter-clockwise from above."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)))


class _Pack:
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


class _View:
    """The primitives of a pack as one camera sees them."""

    def __init__(self, pack: _Pack, camera: Camera) -> None:
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

    def hits(self, index: int, u: Floats, v: Floats) -> tuple[Floats, Bools]:
        """Distances (of the camera's axis) and hits of one primitive."""
        uc, vc, tc = self.centres[index]
        t, hit = intersect(
            self.geometries[index], self.rays[index], u - np.float32(uc), v - np.float32(vc)
        )
        t += np.float32(tc)
        return t, hit


def _thing_buffers(
    view: _View, members: range, us: Floats, vs: Floats, pixel: float
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
    pack = _Pack(things)
    view = _View(pack, Camera.looking(0.0, camera_elevation))
    result = []
    for members in pack.members:
        us = [view.centres[i][0] + s * view.extents[i][0] for i in members for s in (-1, 1)]
        vs = [view.centres[i][1] + s * view.extents[i][1] for i in members for s in (-1, 1)]
        result.append((min(us), max(us), min(vs), max(vs)))
    return result


def projected_extents(
    things: Sequence[Posed], camera_elevation: float
) -> list[tuple[float, float]]:
    """Width and height of each thing's projection in scene units."""
    bounds = projected_bounds(things, camera_elevation)
    return [(u1 - u0, v1 - v0) for u0, u1, v0, v1 in bounds]


def lowest_point(posed: Posed) -> float:
    """The smallest z of a thing (0 when it stands upright on the table), in scene units."""
    pack = _Pack([posed])
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
    pack = _Pack(things)
    view = _View(pack, Camera.looking(0.0, camera_elevation))
    found = []
    for members in pack.members:
        u0 = min(view.centres[i][0] - view.extents[i][0] for i in members)
        u1 = max(view.centres[i][0] + view.extents[i][0] for i in members)
        v0 = min(view.centres[i][1] - view.extents[i][1] for i in members)
        v1 = max(view.centres[i][1] + view.extents[i][1] for i in members)
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


def _blur(values: Floats, radius: int) -> Floats:
    """Two box blurs of a (h, w) array with a zero border of at least 2 radius."""
    size = 2 * radius + 1
    for _ in range(2):
        for axis in (0, 1):
            total = np.cumsum(values, axis=axis, dtype=np.float32)
            result = np.zeros_like(values)
            if axis == 0:
                result[radius + 1 : -radius] = total[size:] - total[:-size]
            else:
                result[:, radius + 1 : -radius] = total[:, size:] - total[:, :-size]
            result *= np.float32(1 / size)
            values = result
    return values


class _ShadowMap:
    """What the light sees: depth and coverage, for shadows on the table and on things."""

    def __init__(self, pack: _Pack, stage: Stage, softness: float, pixel: float) -> None:
        self.camera = Camera.looking(stage.light_azimuth, stage.light_elevation)
        view = _View(pack, self.camera)
        self.cell = max(pixel * 1.5, 2.0 / 400)
        self.radius = max(1, round(softness / self.cell))
        count = range(len(pack.parts))
        margin = (3 * self.radius + 3) * self.cell
        u0 = min(view.centres[i][0] - view.extents[i][0] for i in count) - margin
        u1 = max(view.centres[i][0] + view.extents[i][0] for i in count) + margin
        v0 = min(view.centres[i][1] - view.extents[i][1] for i in count) - margin
        v1 = max(view.centres[i][1] + view.extents[i][1] for i in count) + margin
        self.u0, self.v1 = u0, v1
        us = np.arange(u0, u1, self.cell).astype(np.float32)
        vs = np.arange(v1, v0, -self.cell).astype(np.float32)
        self.depth = np.full((len(vs), len(us)), np.inf, np.float32)
        for i in count:
            a0, a1, b0, b1 = view.grid_rect(i, us, vs, self.cell)
            if a1 <= a0 or b1 <= b0:
                continue
            t, hit = view.hits(i, us[None, b0:b1], vs[a0:a1, None])
            window = self.depth[a0:a1, b0:b1]
            hit &= t < window
            np.copyto(window, t, where=hit)
        covered = np.isfinite(self.depth).astype(np.float32)
        self.coverage = _blur(covered, self.radius)

    def on_table(self, x: Floats, y: Floats) -> Floats:
        """Shadow 0..1 on the table at x (w,) and y (h,)."""
        rows, columns = self.coverage.shape
        right, up = self.camera.right, self.camera.up
        scale = np.float32(1 / self.cell)
        iu = (x * (np.float32(right[0]) * scale))[None, :] + (
            (y * np.float32(right[1]) - np.float32(self.u0)) * scale + np.float32(0.5)
        )[:, None]
        iv = (x * (np.float32(-up[0]) * scale))[None, :] + (
            (y * np.float32(-up[1]) + np.float32(self.v1)) * scale + np.float32(0.5)
        )[:, None]
        np.clip(iu, 0, columns - 1, out=iu)
        np.clip(iv, 0, rows - 1, out=iv)
        flat = iv.astype(np.int32)
        flat *= columns
        flat += iu.astype(np.int32)
        result: Floats = self.coverage.reshape(-1).take(flat)
        return result

    def on_things(self, points: Floats, bias: float) -> Floats:
        """Shadow 0..1 at world points (3, n)."""
        rows, columns = self.depth.shape
        uvt = self.camera.matrix().astype(np.float32) @ points
        scale = np.float32(1 / self.cell)
        u = (uvt[0] - np.float32(self.u0)) * scale
        v = (np.float32(self.v1) - uvt[1]) * scale
        np.clip(u, 0, columns - 2, out=u)
        np.clip(v, 0, rows - 2, out=v)
        iu, iv = u.astype(np.int32), v.astype(np.int32)
        u -= iu
        v -= iv
        iv *= columns
        iv += iu
        threshold = uvt[2] - np.float32(bias)
        flat = self.depth.reshape(-1)
        a: Floats = (flat.take(iv) < threshold).astype(np.float32)
        b = (flat.take(iv + 1) < threshold).astype(np.float32)
        iv += columns
        c = (flat.take(iv) < threshold).astype(np.float32)
        d = (flat.take(iv + 1) < threshold).astype(np.float32)
        a += (b - a) * u
        c += (d - c) * u
        a += (c - a) * v
        return a


def _backdrop(
    stage: Stage, things: Sequence[Posed], shadow: _ShadowMap | None, us: Floats, vs: Floats,
    pixel: float,
) -> Floats:  # fmt: skip
    """Linear colours (3, h, w) of table and wall, lit and shadowed, before the vignette."""
    light = LIGHTINGS[stage.mood]
    elevation = math.radians(stage.camera_elevation)
    sine = math.sin(elevation)
    height, width = len(vs), len(us)
    result = np.empty((3, height, width), np.float32)
    edge = stage.backdrop.edge * sine
    split = int(np.searchsorted(-vs, -edge))  # rows above are wall
    if split < height:
        y = vs[split:] * np.float32(1 / sine)
        table = surfaces.table_texture(stage.backdrop, us, y, pixel / sine)
        lit = None
        if shadow is not None:
            lit = shadow.on_table(us, y)
            lit *= np.float32(-0.92)
            lit += np.float32(1)
        strength = math.sin(math.radians(stage.light_elevation))
        contact = np.ones((height - split, width), np.float32)
        for posed in things:
            reach = posed.thing.radius * posed.scale
            if posed.position[2] > 0.05:
                continue
            px, py = posed.position[:2]
            c0, c1 = np.searchsorted(us, (px - 1.9 * reach, px + 1.9 * reach))
            r0, r1 = np.searchsorted(-y, (-py - 1.9 * reach, -py + 1.9 * reach))
            gx = np.exp((us[c0:c1] - np.float32(px)) ** 2 * np.float32(-1.5 / reach**2))
            gy = np.exp((y[r0:r1] - np.float32(py)) ** 2 * np.float32(-1.5 / reach**2))
            contact[r0:r1, c0:c1] *= 1 - np.float32(0.42) * gy[:, None] * gx[None, :]
        for channel in range(3):
            key = np.float32(light.key[channel] * strength)
            if lit is None:
                gain = contact * np.float32(light.sky[channel] + key)
            else:
                gain = contact * np.float32(light.sky[channel])
                gain += lit * key
            np.multiply(table[channel], gain, out=result[channel, split:])
    if split > 0:
        z = (vs[:split] - np.float32(edge)) * np.float32(1 / math.cos(elevation))
        wall = surfaces.wall_texture(stage.backdrop, us, z, pixel)
        # darker just above the table's edge, where the wall is far behind
        fade = (np.float32(1) - np.float32(0.30) * np.exp(z * np.float32(-9.0)))[:, None]
        for channel in range(3):
            strength = light.sky[channel] + 0.42 * light.key[channel]
            np.multiply(wall[channel], fade * np.float32(strength), out=result[channel, :split])
    if stage.streak > 0:
        length = max(3, round(stage.streak / pixel)) | 1
        padded = np.pad(result, ((0, 0), (0, 0), (length // 2 + 1, length // 2)), mode="edge")
        total = np.cumsum(padded, axis=2, dtype=np.float64)
        result = ((total[:, :, length:] - total[:, :, :-length]) / length).astype(np.float32)
    return result


def _shade(
    things: Sequence[Posed], pack: _Pack, stage: Stage, camera: Camera,
    shadow: _ShadowMap, points: Floats, ids: NDArray[np.int16], pixel: float,
) -> Floats:  # fmt: skip
    """Linear colours (3, n) at world points (3, n) on primitives `ids` (sorted)."""
    light = LIGHTINGS[stage.mood]
    count = points.shape[1]
    normal = np.empty((3, count), np.float32)
    albedo = np.empty((3, count), np.float32)
    gloss = np.empty(count, np.float32)
    glow = np.zeros(count, np.float32)
    open_ = np.ones(count, np.float32)
    metals: list[slice] = []
    forward = np.array(camera.forward)
    bounds = np.searchsorted(ids, np.arange(len(pack.parts) + 1)).tolist()
    for index, part in enumerate(pack.parts):
        low, high = bounds[index], bounds[index + 1]
        if low == high:
            continue
        where = slice(low, high)
        posed = things[pack.owner[index]]
        thing, identity = posed.thing, posed.thing.identity
        first = pack.members[pack.owner[index]].start
        matrix = thing.matrices[index - first]
        inverse = pack.inverses[index].astype(np.float32)
        local = inverse @ (points[:, where] - pack.centres[index].astype(np.float32)[:, None])
        lengths = np.sqrt((matrix**2).sum(axis=0)).tolist()
        sizes = (lengths[0], lengths[1], lengths[2])
        geometry = part.geometry
        covector, cap = normals(geometry, local, max(0.018, 0.7 * pixel / posed.scale), sizes)
        main, second = surfaces.identity_colours(identity)
        base = main if part.paint is None else surfaces.linear(part.paint)
        base = (base[0] * part.shade, base[1] * part.shade, base[2] * part.shade)
        pattern = identity.pattern if part.paint is None else "plain"
        # plain is matte, so that a lone highlight already says "metallic"
        gloss[where] = 0.06 if part.paint is None and part.patterned else part.gloss
        if part.glow:
            glow[where] = part.glow
        mixed: Floats | None = None
        if part.patterned and pattern in ("striped", "dotted"):
            size = pixel / posed.scale
            if pattern == "striped":
                place = matrix.astype(np.float32) @ local
                place += thing.centres[index - first].astype(np.float32)[:, None]
                mixed = surfaces.stripes(
                    thing.stripe_axis, thing.stripe_period, identity.pattern_phase, place, size
                )
            else:
                mixed = surfaces.dots(
                    geometry, local, sizes, 0.235 * identity.pattern_scale,
                    identity.pattern_phase, size, cap,
                )  # fmt: skip
        for channel in range(3):
            if mixed is None:
                albedo[channel, where] = base[channel]
            else:
                gain = second[channel] * part.shade - base[channel]
                albedo[channel, where] = mixed * np.float32(gain) + np.float32(base[channel])
        if part.recess is not None and geometry.shape == FRUSTUM:
            _hollow(part, geometry, inverse, forward, local, covector, where, albedo, glow, open_,
                    gloss, base, 1.2 * pixel / (posed.scale * sizes[0]))  # fmt: skip
        if pattern == "metallic":
            metals.append(where)
        normal[:, where] = inverse.T @ covector
    normal *= 1 / np.sqrt(np.einsum("ij,ij->j", normal, normal) + np.float32(1e-12))
    view = -forward.astype(np.float32)
    facing = np.abs(view @ normal)
    toward = -np.array(shadow.camera.forward, np.float32)
    diffuse = toward @ normal
    offset = np.float32(0.012 + 1.6 * shadow.cell)  # along the normal: no self-shadow speckles
    shadowed = shadow.on_things(points + normal * offset, 0.006 + 0.8 * shadow.cell)
    shadowed *= np.float32(-0.85)
    shadowed += 1
    # a soft terminator, so that faces just turned away keep some shape
    diffuse *= np.float32(0.88)
    diffuse += np.float32(0.12)
    np.maximum(diffuse, 0, out=diffuse)
    diffuse *= shadowed
    up = normal[2] * np.float32(0.5)
    up += np.float32(0.5)
    # near the table less of the sky is open
    near = points[2] * np.float32(7.0)
    np.clip(near, 0, 1, out=near)
    near *= np.float32(0.35)
    near += np.float32(0.65)
    open_ *= near
    half = view + toward
    half /= np.float32(np.linalg.norm(half))
    shine = np.maximum(half @ normal, 0)
    for _ in range(5):
        shine *= shine
    shine *= gloss
    shine *= shadowed
    rim = 1 - facing
    rim *= rim
    rim *= rim
    colour = np.empty_like(albedo)
    for channel in range(3):
        ambient = up * np.float32(light.sky[channel] - light.bounce[channel])
        ambient += np.float32(light.bounce[channel])
        ambient *= open_
        ambient += diffuse * np.float32(light.key[channel])
        ambient += glow
        ambient *= albedo[channel]
        ambient += shine * np.float32(2.6 * light.key[channel])
        ambient += rim * np.float32(light.rim[channel] * 0.7)
        colour[channel] = ambient
    for where in metals:
        _polish(where, things, pack, ids, points, normal, view, toward, light, albedo, open_,
                shadowed, colour)  # fmt: skip
    return colour


def _hollow(
    part: Part, geometry: Geometry, inverse: Floats, forward: NDArray[np.float64], local: Floats,
    covector: Floats, where: slice, albedo: Floats, glow: Floats, open_: Floats, gloss: Floats,
    base: Colour, width: float,
) -> None:  # fmt: skip
    """Looks into a frustum's top: replaces normal and colour where the hollow is seen."""
    assert part.recess is not None
    inner, depth, floor, shine = part.recess
    inner *= geometry.parameters[1]
    rho = np.sqrt(local[0] ** 2 + local[1] ** 2)
    inside = np.flatnonzero((local[2] > 0.995) & (rho < inner))
    dx, dy, dz = (inverse @ forward.astype(np.float32)).tolist()
    if len(inside) == 0 or dz > -1e-6:
        return
    soft = np.float32(width)
    x, y = local[0, inside], local[1, inside]
    cover = np.clip((np.float32(inner) - rho[inside]) / soft, 0, 1)  # soft at the rim
    a = dx * dx + dy * dy + 1e-9
    b = x * np.float32(dx) + y * np.float32(dy)
    c = x * x + y * y - np.float32(inner**2)
    to_wall = (np.sqrt(np.maximum(b * b - c * np.float32(a), 0)) - b) / np.float32(a)
    to_floor = np.float32(-2 * depth / dz)
    on_floor = (to_wall - to_floor) * np.float32(math.sqrt(a)) / soft + np.float32(0.5)
    np.clip(on_floor, 0, 1, out=on_floor)
    s = np.minimum(to_wall, to_floor)
    x = x + s * np.float32(dx)
    y = y + s * np.float32(dy)
    tall = covector[2, inside]
    covector[0, inside] = -x * (1 - on_floor) * cover
    covector[1, inside] = -y * (1 - on_floor) * cover
    covector[2, inside] = tall * (1 - cover * (1 - on_floor))
    target = inside + where.start
    for channel, value in enumerate(surfaces.linear(floor)):
        wall = base[channel] * 0.55 + 0.1 * value
        seen = on_floor * np.float32(value - wall) + np.float32(wall)
        before = albedo[channel, target]
        albedo[channel, target] = before + cover * (seen - before)
    deep = np.minimum(s * np.float32(-dz / 2), depth) / np.float32(max(depth, 1e-6))
    open_[target] = 1 - np.float32(0.35) * deep * cover
    gloss[target] *= 1 - cover
    if shine:
        glow[target] = shine * cover


def _polish(
    where: slice, things: Sequence[Posed], pack: _Pack, ids: NDArray[np.int16], points: Floats,
    normal: Floats, view: Floats, toward: Floats, light: Lighting, albedo: Floats, open_: Floats,
    shadowed: Floats, colour: Floats,
) -> None:  # fmt: skip
    """Metal: an environment of sky, horizon and lamps mirrored in the identity's colour."""
    posed = things[pack.owner[int(ids[where.start])]]
    n = normal[:, where]
    middle = np.array(posed.position, np.float32)
    middle[2] += np.float32(0.4 * posed.scale)
    place = points[:, where] - middle[:, None]
    place *= np.float32(0.75 / posed.scale)
    mirrored = n * (2 * (view @ n))
    mirrored -= view[:, None]
    mirrored += place  # nearby surroundings: flat faces get a gradient too
    mirrored *= 1 / np.sqrt(np.einsum("ij,ij->j", mirrored, mirrored) + np.float32(1e-9))
    z = mirrored[2]
    # table below, dark horizon, bright sky; upright light strips to the sides
    sky = np.clip(z * np.float32(1.6) + np.float32(0.45), 0, 1)
    sky *= sky * (3 - 2 * sky)
    level = sky * np.float32(0.62) + np.float32(0.26)
    horizon = np.clip(1 - np.abs(z + np.float32(0.02)) * np.float32(5.5), 0, 1)
    level *= 1 - np.float32(0.62) * horizon
    across = mirrored[0] + z * np.float32(0.30)
    edge = np.clip(np.abs(across) - np.float32(0.62), 0, 1)
    level *= 1 - edge * np.float32(1.1)
    left = np.clip(1 - np.abs(across + np.float32(0.40)) * np.float32(1 / 0.20), 0, 1)
    right = np.clip(1 - np.abs(across - np.float32(0.46)) * np.float32(1 / 0.11), 0, 1)
    strip = left * (2 - left) * np.float32(0.85) + right * (2 - right) * np.float32(0.6)
    key = np.maximum(toward @ mirrored, 0)
    for _ in range(4):
        key *= key
    key *= shadowed[where] * np.float32(2.0)
    key += strip
    level *= np.float32(0.6) + np.float32(0.4) * shadowed[where]
    level *= open_[where]
    for channel in range(3):
        tone = np.float32(light.sky[channel] + 0.75 * light.key[channel])
        tinted = albedo[channel, where] * np.float32(0.86) + np.float32(0.06)
        mirror = tinted * (level * np.float32(1.15) + key * np.float32(0.7))
        mirror += key * np.float32(0.40)
        colour[channel, where] = mirror * tone


_SUBSAMPLES = np.array(
    ((-0.125, -0.375), (0.375, -0.125), (-0.375, 0.125), (0.125, 0.375)), np.float32
)


def draw(things: Sequence[Posed], stage: Stage) -> Drawing:
    """Draws things (from any order; nearer foot points cover farther ones) on a stage.

    The footprint circles of the things must not overlap; then cover order is exact.
    """
    width, height = stage.width, stage.height
    us, vs, pixel = pixel_grid(width, height)
    camera = Camera.looking(0.0, stage.camera_elevation)
    light = LIGHTINGS[stage.mood]
    if not things:
        linear_image = _backdrop(stage, things, None, us, vs, pixel)
        return Drawing(_develop(linear_image, light, us, vs), [], [])
    pack = _Pack(things)
    view = _View(pack, camera)
    ids = np.full((height, width), -1, np.int16)
    depth = np.empty((height, width), np.float32)
    owner = np.full((height, width), -1, np.int8)
    full_masks: list[Bools] = [np.zeros((height, width), np.bool_) for _ in things]
    order = sorted(range(len(things)), key=lambda i: -things[i].position[1])
    for i in order:
        (r0, r1, c0, c1), t, own = _thing_buffers(view, pack.members[i], us, vs, pixel)
        if t.size == 0:
            continue
        mask = own >= 0
        full_masks[i][r0:r1, c0:c1] = mask
        np.copyto(ids[r0:r1, c0:c1], own, where=mask)
        np.copyto(depth[r0:r1, c0:c1], t, where=mask)
        np.copyto(owner[r0:r1, c0:c1], np.int8(i), where=mask)
    visible_masks = [owner == i for i in range(len(things))]
    shadow = _ShadowMap(pack, stage, light.softness, pixel)
    linear_image = _backdrop(stage, things, shadow, us, vs, pixel)

    edge = np.zeros((height, width), np.bool_)
    across = ids[:, 1:] != ids[:, :-1]
    edge[:, 1:] = across
    edge[:, :-1] |= across
    down = ids[1:] != ids[:-1]
    edge[1:] |= down
    edge[:-1] |= down
    interior = np.flatnonzero((ids >= 0) & ~edge)
    border = np.flatnonzero(edge)
    rows, columns = border // width, border % width
    bu = us[columns][:, None] + _SUBSAMPLES[:, 0] * np.float32(pixel)
    bv = vs[rows][:, None] + _SUBSAMPLES[:, 1] * np.float32(pixel)
    bt = np.full(bu.shape, np.inf, np.float32)
    bid = np.full(bu.shape, -1, np.int16)
    rank = np.full(bu.shape, -1, np.int8)
    for nth, i in enumerate(order):
        for part in pack.members[i]:
            r0, r1, c0, c1 = view.grid_rect(part, us, vs, pixel)
            r0, r1, c0, c1 = r0 - 1, r1 + 1, c0 - 1, c1 + 1
            k0, k1 = np.searchsorted(rows, (r0, r1))
            if k0 == k1:
                continue
            some = columns[k0:k1]
            chosen = np.flatnonzero((some >= c0) & (some < c1))
            if len(chosen) == 0:
                continue
            chosen += k0
            t, hit = view.hits(part, bu[chosen], bv[chosen])
            before = rank[chosen]
            old = bt[chosen]
            hit &= (before < nth) | (t < old)
            bt[chosen] = np.where(hit, t, old)
            bid[chosen] = np.where(hit, np.int16(part), bid[chosen])
            rank[chosen] = np.where(hit, np.int8(nth), before)
    flat_bid = bid.reshape(-1)
    solid = np.flatnonzero(flat_bid >= 0)

    all_ids = np.concatenate((ids.reshape(-1)[interior], flat_bid[solid]))
    sequence = np.argsort(all_ids, kind="stable")
    u = np.concatenate((us[interior % width], bu.reshape(-1)[solid]))[sequence]
    v = np.concatenate((vs[interior // width], bv.reshape(-1)[solid]))[sequence]
    t = np.concatenate((depth.reshape(-1)[interior], bt.reshape(-1)[solid]))[sequence]
    points = np.empty((3, len(u)), np.float32)
    for axis in range(3):
        points[axis] = u * np.float32(camera.right[axis])
        points[axis] += v * np.float32(camera.up[axis])
        points[axis] += t * np.float32(camera.forward[axis])
    colour = _shade(things, pack, stage, camera, shadow, points, all_ids[sequence], pixel)
    np.clip(colour, 0, 1.3, out=colour)
    unsorted = np.empty_like(colour)
    unsorted[:, sequence] = colour
    flat = linear_image.reshape(3, -1)
    for channel in range(3):
        flat[channel][interior] = unsorted[channel, : len(interior)]
        samples = np.repeat(flat[channel][border], 4)
        samples[solid] = unsorted[channel, len(interior) :]
        flat[channel][border] = samples.reshape(-1, 4).mean(axis=1, dtype=np.float32)
    return Drawing(_develop(linear_image, light, us, vs), full_masks, visible_masks)


def _develop(linear_image: Floats, light: Lighting, us: Floats, vs: Floats) -> NDArray[np.uint8]:
    """Vignette, then linear light (3, h, w) to display bytes (h, w, 3)."""
    reach_u, reach_v = float(us[-1]), float(vs[0])
    row = 1 - np.float32(light.vignette) * (us / np.float32(reach_u)) ** 2 * np.float32(0.55)
    column = 1 - np.float32(light.vignette) * (vs / np.float32(reach_v)) ** 2 * np.float32(0.45)
    image = np.empty((len(vs), len(us), 3), np.uint8)
    for channel in range(3):
        plane = linear_image[channel]
        plane *= row
        plane *= column[:, None]
        np.clip(plane, 0, 1, out=plane)
        np.sqrt(plane, out=plane)
        plane *= np.float32(255)
        plane += np.float32(0.5)
        image[:, :, channel] = plane
    return image

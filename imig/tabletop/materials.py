"""What the light meets: normals, colours and gloss at points on things."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imig.tabletop.colours import Colour, identity_colours, linear
from imig.tabletop.patterns import dots, stripes
from imig.tabletop.primitives import FRUSTUM, Floats, Vector, normals
from imig.tabletop.projection import Pack, Posed
from imig.tabletop.shapes import Part


@dataclass
class Surface:
    """The material at n points, linear light; filled primitive by primitive."""

    normal: Floats
    """(3, n), of length 1, in the world."""
    albedo: Floats
    """(3, n)."""
    gloss: Floats
    """(n,), strength of the highlight."""
    glow: Floats
    """(n,), light of its own."""
    openness: Floats
    """(n,), how much of the sky is seen from there."""
    metals: list[tuple[slice, Posed]] = field(default_factory=list)
    """The metallic points, and whose they are."""


def surface_at(
    things: Sequence[Posed], pack: Pack, points: Floats, ids: NDArray[np.int16],
    forward: Vector, pixel: float,
) -> Surface:  # fmt: skip
    """The material at world points (3, n) on primitives `ids` (n,), which must be sorted.

    `forward` is the camera's direction and `pixel` the size of a pixel, in scene units.
    """
    count = points.shape[1]
    surface = Surface(
        normal=np.empty((3, count), np.float32),
        albedo=np.empty((3, count), np.float32),
        gloss=np.empty(count, np.float32),
        glow=np.zeros(count, np.float32),
        openness=np.ones(count, np.float32),
    )
    bounds = np.searchsorted(ids, np.arange(len(pack.parts) + 1)).tolist()
    for index, part in enumerate(pack.parts):
        where = slice(bounds[index], bounds[index + 1])
        if where.start < where.stop:
            posed = things[pack.owner[index]]
            nth = index - pack.members[pack.owner[index]].start
            inverse = pack.inverses[index].astype(np.float32)
            centre = pack.centres[index].astype(np.float32)
            local = inverse @ (points[:, where] - centre[:, None])
            _cover(surface, where, part, posed, nth, inverse, local, forward, pixel)
    surface.normal *= 1 / np.sqrt(
        np.einsum("ij,ij->j", surface.normal, surface.normal) + np.float32(1e-12)
    )
    return surface


def _cover(
    surface: Surface, where: slice, part: Part, posed: Posed, nth: int, inverse: Floats,
    local: Floats, forward: Vector, pixel: float,
) -> None:  # fmt: skip
    """Fill the points `where`, on the nth part of a thing; `local` (3, n) in the part's frame."""
    identity = posed.thing.identity
    matrix = posed.thing.matrices[nth]
    lengths = np.sqrt((matrix**2).sum(axis=0)).tolist()
    sizes = (lengths[0], lengths[1], lengths[2])
    covector, cap = normals(part.geometry, local, max(0.018, 0.7 * pixel / posed.scale), sizes)
    main, second = identity_colours(identity)
    base = main if part.paint is None else linear(part.paint)
    base = (base[0] * part.shade, base[1] * part.shade, base[2] * part.shade)
    # plain is matte, so that a lone highlight already says "metallic"
    surface.gloss[where] = 0.06 if part.paint is None and part.patterned else part.gloss
    if part.glow:
        surface.glow[where] = part.glow
    mixed = _second_share(part, posed, nth, local, sizes, pixel / posed.scale, cap)
    for channel in range(3):
        if mixed is None:
            surface.albedo[channel, where] = base[channel]
        else:
            gain = second[channel] * part.shade - base[channel]
            surface.albedo[channel, where] = mixed * np.float32(gain) + np.float32(base[channel])
    if part.recess is not None and part.geometry.shape == FRUSTUM:
        way = (inverse @ np.array(forward).astype(np.float32)).tolist()
        width = 1.2 * pixel / (posed.scale * sizes[0])
        _hollow(surface, where, part, base, way, local, covector, width)
    if part.paint is None and identity.pattern == "metallic":
        surface.metals.append((where, posed))
    surface.normal[:, where] = inverse.T @ covector


def _second_share(
    part: Part, posed: Posed, nth: int, local: Floats, sizes: Vector, pixel: float,
    cap: Floats | None,
) -> Floats | None:  # fmt: skip
    """How much of the second colour there is, 0..1 (n,); None on a part without a pattern.

    `pixel` is the size of a pixel in the thing's units.
    """
    thing, identity = posed.thing, posed.thing.identity
    if part.paint is not None or not part.patterned:
        return None
    if identity.pattern == "striped":
        place = thing.matrices[nth].astype(np.float32) @ local
        place += thing.centres[nth].astype(np.float32)[:, None]
        return stripes(thing.stripe_axis, thing.stripe_period, identity.pattern_phase, place, pixel)
    if identity.pattern == "dotted":
        spacing = 0.235 * identity.pattern_scale
        return dots(part.geometry, local, sizes, spacing, identity.pattern_phase, pixel, cap)
    return None


def _hollow(
    surface: Surface, where: slice, part: Part, base: Colour, way: Sequence[float], local: Floats,
    covector: Floats, width: float,
) -> None:  # fmt: skip
    """Look into a frustum's top: replace normal and colour where the hollow is seen.

    `way` is the camera's direction in the part's frame, `width` the softness of edges there.
    """
    assert part.recess is not None
    inner, depth, floor, shine = part.recess
    inner *= part.geometry.parameters[1]
    rho = np.sqrt(local[0] ** 2 + local[1] ** 2)
    inside = np.flatnonzero((local[2] > 0.995) & (rho < inner))
    dx, dy, dz = way
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
    for channel, value in enumerate(linear(floor)):
        wall = base[channel] * 0.55 + 0.1 * value
        seen = on_floor * np.float32(value - wall) + np.float32(wall)
        before = surface.albedo[channel, target]
        surface.albedo[channel, target] = before + cover * (seen - before)
    deep = np.minimum(s * np.float32(-dz / 2), depth) / np.float32(max(depth, 1e-6))
    surface.openness[target] = 1 - np.float32(0.35) * deep * cover
    surface.gloss[target] *= 1 - cover
    if shine:
        surface.glow[target] = shine * cover

"""Draws posed things in their scenery: exact masks, anti-aliased edges, display bytes.

Colours are float32 linear light until the last step (display = square root).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imig.tabletop.backdrop import draw_backdrop
from imig.tabletop.materials import surface_at
from imig.tabletop.primitives import Bools, Camera, Floats
from imig.tabletop.projection import Pack, PackView, Posed, pixel_grid, thing_buffers
from imig.tabletop.scenery import LIGHTINGS, Lighting, Scenery
from imig.tabletop.shading import shade
from imig.tabletop.shadows import ShadowMap


@dataclass
class Rendering:
    """The picture and, for each thing in the order given, its full and visible mask."""

    image: NDArray[np.uint8]
    full_masks: list[Bools]
    visible_masks: list[Bools]


_SUBSAMPLES = np.array(
    ((-0.125, -0.375), (0.375, -0.125), (-0.375, 0.125), (0.125, 0.375)), np.float32
)


def draw(things: Sequence[Posed], scenery: Scenery) -> Rendering:
    """Draw things (from any order; nearer foot points cover farther ones) in a scenery.

    The footprint circles of the things must not overlap; then cover order is exact.
    """
    width, height = scenery.width, scenery.height
    us, vs, pixel = pixel_grid(width, height)
    camera = Camera.looking(0.0, scenery.camera_elevation)
    light = LIGHTINGS[scenery.mood]
    if not things:
        linear_image = draw_backdrop(scenery, things, None, us, vs, pixel)
        return Rendering(_develop(linear_image, light, us, vs), [], [])
    pack = Pack(things)
    view = PackView(pack, camera)
    ids = np.full((height, width), -1, np.int16)
    depth = np.empty((height, width), np.float32)
    owner = np.full((height, width), -1, np.int8)
    full_masks: list[Bools] = [np.zeros((height, width), np.bool_) for _ in things]
    order = sorted(range(len(things)), key=lambda i: -things[i].position[1])
    for i in order:
        (r0, r1, c0, c1), t, own = thing_buffers(view, pack.members[i], us, vs, pixel)
        if t.size == 0:
            continue
        mask = own >= 0
        full_masks[i][r0:r1, c0:c1] = mask
        np.copyto(ids[r0:r1, c0:c1], own, where=mask)
        np.copyto(depth[r0:r1, c0:c1], t, where=mask)
        np.copyto(owner[r0:r1, c0:c1], np.int8(i), where=mask)
    visible_masks = [owner == i for i in range(len(things))]
    shadow = ShadowMap(pack, scenery, light.softness, pixel)
    linear_image = draw_backdrop(scenery, things, shadow, us, vs, pixel)

    # pixels within one primitive are drawn once, those where primitives meet at four subsamples
    edge = _edge(ids)
    interior = np.flatnonzero((ids >= 0) & ~edge)
    border = np.flatnonzero(edge)
    samples = _sample_border(pack, view, order, border, us, vs, pixel)
    solid = np.flatnonzero(samples.ids >= 0)
    all_ids = np.concatenate((ids.reshape(-1)[interior], samples.ids[solid]))
    sequence = np.argsort(all_ids, kind="stable")
    u = np.concatenate((us[interior % width], samples.u[solid]))[sequence]
    v = np.concatenate((vs[interior // width], samples.v[solid]))[sequence]
    t = np.concatenate((depth.reshape(-1)[interior], samples.depth[solid]))[sequence]
    points = np.empty((3, len(u)), np.float32)
    for axis in range(3):
        points[axis] = u * np.float32(camera.right[axis])
        points[axis] += v * np.float32(camera.up[axis])
        points[axis] += t * np.float32(camera.forward[axis])
    surface = surface_at(things, pack, points, all_ids[sequence], camera.forward, pixel)
    colour = shade(surface, points, light, camera, shadow)
    np.clip(colour, 0, 1.3, out=colour)
    unsorted = np.empty_like(colour)
    unsorted[:, sequence] = colour
    flat = linear_image.reshape(3, -1)
    for channel in range(3):
        flat[channel][interior] = unsorted[channel, : len(interior)]
        mixed = np.repeat(flat[channel][border], len(_SUBSAMPLES))
        mixed[solid] = unsorted[channel, len(interior) :]
        means = mixed.reshape(-1, len(_SUBSAMPLES)).mean(axis=1, dtype=np.float32)
        flat[channel][border] = means
    return Rendering(_develop(linear_image, light, us, vs), full_masks, visible_masks)


def _edge(ids: NDArray[np.int16]) -> Bools:
    """Where a pixel's right, left, upper or lower neighbour shows another primitive (h, w)."""
    edge = np.zeros(ids.shape, np.bool_)
    across = ids[:, 1:] != ids[:, :-1]
    edge[:, 1:] = across
    edge[:, :-1] |= across
    down = ids[1:] != ids[:-1]
    edge[1:] |= down
    edge[:-1] |= down
    return edge


@dataclass(frozen=True)
class _Samples:
    """Subsamples of border pixels (n * 4,): where they are, how far, and on which primitive."""

    u: Floats
    v: Floats
    depth: Floats
    ids: NDArray[np.int16]


def _sample_border(
    pack: Pack, view: PackView, order: Sequence[int], border: NDArray[np.int64],
    us: Floats, vs: Floats, pixel: float,
) -> _Samples:  # fmt: skip
    """The subsamples of the pixels `border` (n,), flat indices in rising order."""
    rows, columns = border // len(us), border % len(us)
    u = us[columns][:, None] + _SUBSAMPLES[:, 0] * np.float32(pixel)
    v = vs[rows][:, None] + _SUBSAMPLES[:, 1] * np.float32(pixel)
    depth = np.full(u.shape, np.inf, np.float32)
    ids = np.full(u.shape, -1, np.int16)
    rank = np.full(u.shape, -1, np.int8)
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
            t, hit = view.hits(part, u[chosen], v[chosen])
            before = rank[chosen]
            old = depth[chosen]
            hit &= (before < nth) | (t < old)
            depth[chosen] = np.where(hit, t, old)
            ids[chosen] = np.where(hit, np.int16(part), ids[chosen])
            rank[chosen] = np.where(hit, np.int8(nth), before)
    return _Samples(u.reshape(-1), v.reshape(-1), depth.reshape(-1), ids.reshape(-1))


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

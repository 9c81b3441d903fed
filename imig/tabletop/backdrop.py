"""The table and the wall behind the things, lit and shadowed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from imig.tabletop.primitives import Floats
from imig.tabletop.projection import Posed
from imig.tabletop.scenery import LIGHTINGS, Scenery
from imig.tabletop.shadows import ShadowMap
from imig.tabletop.textures import table_texture, wall_texture


def draw_backdrop(
    scenery: Scenery, things: Sequence[Posed], shadow: ShadowMap | None, us: Floats, vs: Floats,
    pixel: float,
) -> Floats:  # fmt: skip
    """Linear colours (3, h, w) of table and wall, lit and shadowed, before the vignette."""
    light = LIGHTINGS[scenery.mood]
    elevation = math.radians(scenery.camera_elevation)
    sine = math.sin(elevation)
    height, width = len(vs), len(us)
    result = np.empty((3, height, width), np.float32)
    edge = scenery.backdrop.edge * sine
    split = int(np.searchsorted(-vs, -edge))  # rows above are wall
    if split < height:
        y = vs[split:] * np.float32(1 / sine)
        table = table_texture(scenery.backdrop, us, y, pixel / sine)
        lit = None
        if shadow is not None:
            lit = shadow.on_table(us, y)
            lit *= np.float32(-0.92)
            lit += np.float32(1)
        strength = math.sin(math.radians(scenery.light_elevation))
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
        wall = wall_texture(scenery.backdrop, us, z, pixel)
        # darker just above the table's edge, where the wall is far behind
        fade = (np.float32(1) - np.float32(0.30) * np.exp(z * np.float32(-9.0)))[:, None]
        for channel in range(3):
            strength = light.sky[channel] + 0.42 * light.key[channel]
            np.multiply(wall[channel], fade * np.float32(strength), out=result[channel, :split])
    if scenery.streak > 0:
        length = max(3, round(scenery.streak / pixel)) | 1
        padded = np.pad(result, ((0, 0), (0, 0), (length // 2 + 1, length // 2)), mode="edge")
        total = np.cumsum(padded, axis=2, dtype=np.float64)
        result = ((total[:, :, length:] - total[:, :, :-length]) / length).astype(np.float32)
    return result

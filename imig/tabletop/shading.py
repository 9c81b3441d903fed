"""Light on things: sky, key light with its shadow, highlights, rims, and mirrors of metal."""

from __future__ import annotations

import numpy as np

from imig.tabletop.materials import Surface
from imig.tabletop.primitives import Camera, Floats
from imig.tabletop.projection import Posed
from imig.tabletop.scenery import Lighting
from imig.tabletop.shadows import ShadowMap


def shade(
    surface: Surface, points: Floats, light: Lighting, camera: Camera, shadow: ShadowMap
) -> Floats:
    """Linear colours (3, n) of a surface's world points (3, n); uses the surface up."""
    normal = surface.normal
    view = -np.array(camera.forward).astype(np.float32)
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
    surface.openness *= near
    half = view + toward
    half /= np.float32(np.linalg.norm(half))
    shine = np.maximum(half @ normal, 0)
    for _ in range(5):
        shine *= shine
    shine *= surface.gloss
    shine *= shadowed
    rim = 1 - facing
    rim *= rim
    rim *= rim
    colour = np.empty_like(surface.albedo)
    for channel in range(3):
        ambient = up * np.float32(light.sky[channel] - light.bounce[channel])
        ambient += np.float32(light.bounce[channel])
        ambient *= surface.openness
        ambient += diffuse * np.float32(light.key[channel])
        ambient += surface.glow
        ambient *= surface.albedo[channel]
        ambient += shine * np.float32(2.6 * light.key[channel])
        ambient += rim * np.float32(light.rim[channel] * 0.7)
        colour[channel] = ambient
    for where, posed in surface.metals:
        colour[:, where] = _mirror(surface, where, posed, points, view, toward, light, shadowed)
    return colour


def _mirror(
    surface: Surface, where: slice, posed: Posed, points: Floats, view: Floats, toward: Floats,
    light: Lighting, shadowed: Floats,
) -> Floats:  # fmt: skip
    """Metal: an environment of sky, horizon and lamps mirrored in the identity's colour."""
    n = surface.normal[:, where]
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
    level *= surface.openness[where]
    colour = np.empty_like(n)
    for channel in range(3):
        tone = np.float32(light.sky[channel] + 0.75 * light.key[channel])
        tinted = surface.albedo[channel, where] * np.float32(0.86) + np.float32(0.06)
        mirror = tinted * (level * np.float32(1.15) + key * np.float32(0.7))
        mirror += key * np.float32(0.40)
        colour[channel] = mirror * tone
    return colour

"""Textures of tables and walls, in linear light, and the backdrop that names them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imig.tabletop.colours import Colour, linear
from imig.tabletop.primitives import Floats

_NOISE_SIZE = 512


@lru_cache(maxsize=1)
def _noise() -> Floats:
    """Smooth tileable noise, (512, 512), mean 0, about -1..1, the same on every machine."""
    rng = np.random.default_rng(20240607)
    total = np.zeros((_NOISE_SIZE, _NOISE_SIZE), np.float32)
    for cells, weight in ((8, 0.55), (16, 0.5), (32, 0.38), (64, 0.28), (128, 0.2)):
        grid = rng.random((cells, cells)).astype(np.float32) * 2 - 1
        position = np.arange(_NOISE_SIZE, dtype=np.float32) * (cells / _NOISE_SIZE)
        low = position.astype(np.int64)
        f = position - low
        f = f * f * (3 - 2 * f)
        high = (low + 1) % cells
        rows = grid[low] * (1 - f)[:, None] + grid[high] * f[:, None]
        total += weight * (rows[:, low] * (1 - f) + rows[:, high] * f)
    return total


def _sample_noise(x: Floats, y: Floats, scale_x: float, scale_y: float, shift: int) -> Floats:
    """Noise on the grid of x (w,) and y (h,); scales in noise cells (of 512) per unit."""
    ix = (x * np.float32(scale_x) + np.float32(shift)).astype(np.int64) & (_NOISE_SIZE - 1)
    iy = (y * np.float32(scale_y) + np.float32(shift * 7)).astype(np.int64) & (_NOISE_SIZE - 1)
    rows: Floats = _noise()[iy]
    return rows[:, ix]


@dataclass(frozen=True)
class Backdrop:
    """What lies behind and under the things: names, a seed for their details, the table's far edge.

    `edge` is the depth (y) of the table's far edge in scene units; `tint` in 0..1 picks a colour.
    """

    table: str = "wood"
    wall: str = "gradient"
    seed: int = 0
    edge: float = 1.2
    tint: float = 0.5


_TABLE_COLOURS: dict[str, tuple[tuple[Colour, Colour], ...]] = {
    "wood": (
        ((0.52, 0.39, 0.28), (0.69, 0.55, 0.42)), ((0.38, 0.28, 0.22), (0.51, 0.40, 0.32)),
        ((0.72, 0.62, 0.50), (0.84, 0.76, 0.65)),
    ),
    "cloth": (
        ((0.88, 0.87, 0.84), (0.66, 0.70, 0.76)), ((0.90, 0.88, 0.83), (0.76, 0.66, 0.64)),
        ((0.87, 0.88, 0.85), (0.66, 0.73, 0.68)),
    ),
    "marble": (((0.90, 0.89, 0.88), (0.62, 0.62, 0.64)), ((0.36, 0.37, 0.40), (0.58, 0.58, 0.60))),
    "sand": (((0.80, 0.71, 0.56), (0.88, 0.81, 0.68)), ((0.74, 0.68, 0.60), (0.83, 0.78, 0.70))),
    "grass": (((0.34, 0.43, 0.24), (0.50, 0.57, 0.34)), ((0.42, 0.48, 0.30), (0.58, 0.62, 0.42))),
    "tiles": (
        ((0.82, 0.83, 0.83), (0.72, 0.74, 0.76)), ((0.70, 0.62, 0.56), (0.78, 0.71, 0.65)),
        ((0.48, 0.53, 0.57), (0.58, 0.62, 0.66)),
    ),
    "slate": (((0.30, 0.32, 0.35), (0.44, 0.46, 0.49)), ((0.38, 0.36, 0.35), (0.50, 0.48, 0.46))),
    "linen": (((0.80, 0.76, 0.69), (0.88, 0.85, 0.79)), ((0.62, 0.64, 0.68), (0.72, 0.74, 0.77))),
    "concrete": (
        ((0.58, 0.58, 0.57), (0.70, 0.70, 0.69)), ((0.68, 0.67, 0.64), (0.78, 0.77, 0.74)),
    ),
    "paper": (((0.86, 0.84, 0.80), (0.92, 0.91, 0.88)), ((0.72, 0.77, 0.80), (0.80, 0.84, 0.87))),
}  # fmt: skip

_WALL_COLOURS: tuple[tuple[Colour, Colour], ...] = (
    ((0.72, 0.75, 0.78), (0.86, 0.88, 0.89)),
    ((0.80, 0.72, 0.66), (0.90, 0.84, 0.79)),
    ((0.50, 0.56, 0.62), (0.68, 0.73, 0.77)),
    ((0.66, 0.70, 0.63), (0.81, 0.84, 0.78)),
    ((0.40, 0.38, 0.44), (0.58, 0.55, 0.61)),
    ((0.78, 0.76, 0.70), (0.91, 0.90, 0.86)),
)


def _mix(f: Floats, low: Colour, high: Colour) -> Floats:
    """(3, h, w) linear colours between two display colours."""
    a, b = linear(low), linear(high)
    result = np.empty((3, *f.shape), np.float32)
    for channel in range(3):
        np.multiply(f, np.float32(b[channel] - a[channel]), out=result[channel])
        result[channel] += np.float32(a[channel])
    return result


def _saw(values: Floats) -> Floats:
    """Distance to the nearest whole number, 0..0.5."""
    result: Floats = np.abs(values - np.round(values))
    return result


def table_texture(backdrop: Backdrop, x: Floats, y: Floats, pixel: float) -> Floats:
    """Linear colours (3, h, w) of the table at world x (w,) and y (h,)."""
    rng = np.random.default_rng((backdrop.seed, 1))
    palette = _TABLE_COLOURS[backdrop.table]
    low, high = palette[int(backdrop.tint * len(palette)) % len(palette)]
    shift = int(rng.integers(4096))
    name = backdrop.table
    one = np.float32(1)
    if name == "wood":
        planks = float(rng.uniform(1.6, 2.6))
        board = np.floor(y * np.float32(planks))
        offsets = (
            np.sin(board * np.float32(12.9898) + np.float32(shift)) * np.float32(43758.5)
        ) % one
        f = _sample_noise(x, y, 22.0, 210.0, shift)
        f += _sample_noise(x, y, 9.0, 60.0, shift + 99)
        f *= np.float32(0.22)
        f += (np.float32(0.30) + np.float32(0.4) * offsets)[:, None]
        gap = _saw(y * np.float32(planks)) * np.float32(1 / planks)
        f -= (np.clip(1.4 - gap / np.float32(max(0.008, pixel)), 0, 1) * np.float32(0.75))[:, None]
    elif name == "cloth":
        size = float(rng.uniform(2.4, 4.2))
        soft = np.float32(1 / max(pixel * size * 2.4, 0.02))
        a = np.clip((_saw(x * np.float32(size)) - np.float32(0.25)) * soft + np.float32(0.5), 0, 1)
        b = np.clip((_saw(y * np.float32(size)) - np.float32(0.25)) * soft + np.float32(0.5), 0, 1)
        f = np.float32(0.5) * (a[None, :] + b[:, None])
        f += _sample_noise(x, y, 300.0, 300.0, shift) * np.float32(0.05)
    elif name == "marble":
        warp = _sample_noise(x, y, 60.0, 60.0, shift)
        warp *= np.float32(0.55)
        warp += x[None, :] * np.float32(rng.uniform(0.6, 1.1))
        warp += y[:, None] * np.float32(rng.uniform(-1.0, 1.0))
        f = _saw(warp)
        f *= np.float32(-9)
        f += one
        np.clip(f, 0, 1, out=f)
        f *= np.float32(0.55)
        f += _sample_noise(x, y, 110.0, 110.0, shift + 31) * np.float32(0.14)
        f += np.float32(0.1)
    elif name == "sand":
        f = _sample_noise(x, y, 330.0, 200.0, shift) * np.float32(0.28)
        ripple = _sample_noise(x, y, 30.0, 30.0, shift + 5) * np.float32(0.35)
        ripple += y[:, None] * np.float32(rng.uniform(3.0, 5.0))
        f += _saw(ripple) * np.float32(0.7)
        f += np.float32(0.25)
    elif name == "grass":
        f = _sample_noise(x, y, 900.0, 330.0, shift) * np.float32(0.40)
        f += _sample_noise(x, y, 40.0, 40.0, shift + 3) * np.float32(0.30)
        f += np.float32(0.5)
    elif name == "tiles":
        size = float(rng.uniform(1.3, 2.4))
        fx, fy = np.floor(x * np.float32(size)), np.floor(y * np.float32(size))
        f = np.sin(
            fx[None, :] * np.float32(7.13) + fy[:, None] * np.float32(3.77) + np.float32(shift)
        )
        f *= np.float32(0.25)
        f += _sample_noise(x, y, 70.0, 70.0, shift) * np.float32(0.15)
        f += np.float32(0.5)
        joint = np.minimum(_saw(x * np.float32(size))[None, :], _saw(y * np.float32(size))[:, None])
        joint *= np.float32(1 / (size * max(0.009, pixel)))
        np.clip(joint - np.float32(0.4), 0, 1, out=joint)
        joint -= one
        joint *= np.float32(1.1)
        f += joint
    elif name == "linen":
        f = _sample_noise(x, y, 40.0, 700.0, shift) + _sample_noise(x, y, 700.0, 40.0, shift + 9)
        f *= np.float32(0.28)
        f += np.float32(0.5)
    else:
        strength = {"slate": 0.45, "concrete": 0.32, "paper": 0.10}[name]
        f = _sample_noise(x, y, 80.0, 80.0, shift) * np.float32(strength)
        f += _sample_noise(x, y, 420.0, 420.0, shift + 17) * np.float32(strength * 0.5)
        f += np.float32(0.5)
    return _mix(f, low, high)


def wall_texture(backdrop: Backdrop, x: Floats, z: Floats, pixel: float) -> Floats:
    """Linear colours (3, h, w) of the wall at x (w,) and height z (h,) above the table's edge."""
    rng = np.random.default_rng((backdrop.seed, 2))
    low, high = _WALL_COLOURS[int(rng.integers(len(_WALL_COLOURS)))]
    shift = int(rng.integers(4096))
    ramp = np.clip(z * np.float32(0.9), 0, 1)[:, None]
    spread = np.broadcast_to(ramp, (len(z), len(x)))
    name = backdrop.wall
    if name == "gradient" or len(z) == 0:
        return _mix(np.ascontiguousarray(spread), low, high)
    if name == "panels":
        size = float(rng.uniform(1.6, 3.0))
        groove = np.clip(_saw(x * np.float32(size)) / np.float32(size * 0.016), 0, 1)
        f = (spread * np.float32(0.6) + groove[None, :] * np.float32(0.4)).astype(np.float32)
        return _mix(f, low, high)
    if name == "plaster":
        f = _sample_noise(x, z, 50.0, 50.0, shift) * np.float32(0.28)
        f += spread * np.float32(0.6)
        f += np.float32(0.2)
        return _mix(f, low, high)
    if name == "bricks":
        rows = z * np.float32(7.0)
        row = np.floor(rows)
        columns = x[None, :] * np.float32(3.0) + (row * np.float32(0.5))[:, None]
        joint = np.minimum(_saw(columns) / 3, (_saw(rows) / 7)[:, None])
        f = np.clip(joint / np.float32(max(0.010, pixel)) - np.float32(0.4), 0, 1)
        f *= np.float32(-0.5)
        f += np.float32(0.75)
        f += np.sin(
            np.floor(columns) * np.float32(5.3) + row[:, None] * np.float32(8.7)
        ) * np.float32(0.12)
        return _mix(f, low, high)
    if name == "hills":
        result = _mix(np.ascontiguousarray(spread), (0.86, 0.85, 0.80), (0.66, 0.76, 0.86))
        for index, tone in enumerate(((0.58, 0.64, 0.66), (0.44, 0.52, 0.50))):
            crest = (
                0.34
                - 0.17 * index
                + 0.05
                * np.sin(x * np.float32(rng.uniform(1.5, 3.5)) + np.float32(rng.uniform(0, 6)))
                + 0.03 * np.sin(x * np.float32(rng.uniform(4, 7)))
            )
            cover = np.clip((crest[None, :] - z[:, None]) / np.float32(2 * pixel), 0, 1)
            cover = cover.astype(np.float32)
            for channel, value in enumerate(linear(tone)):
                result[channel] += cover * (np.float32(value) - result[channel])
        return result
    result = _mix(np.ascontiguousarray(spread), low, (high[0] * 0.8, high[1] * 0.8, high[2] * 0.8))
    width = float(x[-1] - x[0]) if len(x) > 1 else 1.0
    for _ in range(7):  # bokeh: soft discs of light
        cx, cz = float(x[0]) + width * float(rng.random()), float(rng.uniform(0.0, 0.9))
        radius = float(rng.uniform(0.06, 0.17))
        warm = float(rng.uniform(0.0, 1.0))
        c0, c1 = np.searchsorted(x, (cx - radius, cx + radius))
        inside = np.flatnonzero(np.abs(z - cz) < radius)
        if c0 == c1 or len(inside) == 0:
            continue
        r0, r1 = int(inside[0]), int(inside[-1]) + 1
        d = np.sqrt((x[None, c0:c1] - np.float32(cx)) ** 2 + (z[r0:r1, None] - np.float32(cz)) ** 2)
        glow = np.clip((np.float32(radius) - d) / np.float32(radius * 0.25), 0, 1) * np.float32(
            0.22
        )
        for channel, value in enumerate((1.0, 0.88, 0.75 + 0.25 * (1 - warm))):
            result[channel, r0:r1, c0:c1] += glow * np.float32(value)
    return result

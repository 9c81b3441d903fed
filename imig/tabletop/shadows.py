"""What the light sees: shadows on the table and on things."""

from __future__ import annotations

import numpy as np

from imig.tabletop.primitives import Camera, Floats
from imig.tabletop.projection import Pack, PackView
from imig.tabletop.scenery import Scenery


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


class ShadowMap:
    """What the light sees: depth and coverage, for shadows on the table and on things."""

    def __init__(self, pack: Pack, scenery: Scenery, softness: float, pixel: float) -> None:
        self.camera = Camera.looking(scenery.light_azimuth, scenery.light_elevation)
        view = PackView(pack, self.camera)
        self.cell = max(pixel * 1.5, 2.0 / 400)
        self.radius = max(1, round(softness / self.cell))
        count = range(len(pack.parts))
        margin = (3 * self.radius + 3) * self.cell
        u0, u1, v0, v1 = view.bounds(count)
        self.u0, self.v1 = u0 - margin, v1 + margin
        us = np.arange(self.u0, u1 + margin, self.cell).astype(np.float32)
        vs = np.arange(self.v1, v0 - margin, -self.cell).astype(np.float32)
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

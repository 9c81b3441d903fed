"""Places for things on a table: none off the picture, none hidden too much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imig.tabletop.identity import Identity
from imig.tabletop.projection import Posed, projected_extents, silhouettes, yaw_matrix
from imig.tabletop.records import Mask, Placement
from imig.tabletop.shapes import build_thing
from imig.tabletop.stage import Stage

MIN_VISIBLE_FRACTION = 0.40
"""Of its full mask, an instance keeps at least this much visible."""
MIN_VISIBLE_AREA = 0.003
"""An instance's visible mask covers at least this much of the image."""

# the largest and smallest extent of a thing, as a part of the image side, by number of things
_SIZES: dict[int, tuple[float, float]] = {
    1: (0.40, 0.60), 2: (0.28, 0.45), 3: (0.25, 0.42), 4: (0.22, 0.38), 5: (0.20, 0.34),
    6: (0.19, 0.31), 7: (0.18, 0.285), 8: (0.17, 0.265),
}  # fmt: skip


def arrange(
    rng: np.random.Generator, identities: Sequence[Identity], stage: Stage
) -> tuple[Placement, ...] | None:
    """Finds places for all identities, or None after a fixed number of tries at falling sizes."""
    width, height = stage.width, stage.height
    short = min(width, height)
    coarse = 2.0 / 72
    columns, rows = round(width / short * 72), round(height / short * 72)
    half_u, half_v = width / short, height / short
    side = 2.0 * min(math.sqrt(width * height) / short, 1.3)
    low, high = _SIZES[min(max(len(identities), 1), 8)]
    wanted = [float(rng.uniform(low, high)) * side for _ in identities]
    yaws = [round(float(rng.uniform(0, 360)), 2) for _ in identities]
    overlap_share = 0.40
    sine = math.sin(math.radians(stage.camera_elevation))
    unit = [
        Posed(build_thing(identity), yaw_matrix(yaw), (0.0, 0.0, 0.0), 1.0)
        for identity, yaw in zip(identities, yaws, strict=True)
    ]
    extents = projected_extents(unit, stage.camera_elevation)
    least_area = MIN_VISIBLE_AREA * 1.15 * rows * columns
    for attempt in range(12):
        shrink = 0.93**attempt
        posed = [
            Posed(u.thing, u.rotation, u.position, round(w * shrink / max(e), 4))
            for u, w, e in zip(unit, wanted, extents, strict=True)
        ]
        shapes = silhouettes(posed, stage.camera_elevation, coarse)
        things = [
            _Candidate(
                i, p.scale, yaws[i], p.thing.radius * p.scale, mask, row, column,
                int(np.count_nonzero(mask)),
            )
            for i, (p, (mask, row, column)) in enumerate(zip(posed, shapes, strict=True))
        ]  # fmt: skip
        placed: list[_Candidate] = []
        order = sorted(things, key=lambda c: -c.area)
        for thing in order:
            if not _place(rng, thing, placed, stage, coarse, (columns, rows), (half_u, half_v),
                          sine, least_area, overlap_share):  # fmt: skip
                break
        else:
            return tuple(
                Placement(identities[c.index], (c.x, c.y), c.yaw, c.scale)
                for c in sorted(things, key=lambda c: c.index)
            )
    return None


@dataclass
class _Candidate:
    """A thing to place: its silhouette on the coarse grid, relative to its foot point."""

    index: int
    scale: float
    yaw: float
    radius: float
    mask: Mask
    row: int
    column: int
    area: int
    x: float = 0.0
    y: float = 0.0
    visible: float = 1.0


def _place(
    rng: np.random.Generator, thing: _Candidate, placed: list[_Candidate], stage: Stage,
    coarse: float, grid: tuple[int, int], half: tuple[float, float], sine: float,
    least_area: float, overlap_share: float,
) -> bool:  # fmt: skip
    """Places one more thing; appends it to `placed` and returns True when it found room."""
    columns, rows = grid
    height, width = thing.mask.shape
    margin = 0.03
    u_low = -half[0] + margin - thing.column * coarse
    u_high = half[0] - margin - (thing.column + width) * coarse
    v_low = -half[1] + margin + (thing.row + height) * coarse
    v_high = min(
        half[1] - margin + thing.row * coarse,
        (stage.backdrop.edge - thing.radius * 0.9) * sine,
    )
    if u_low > u_high or v_low > v_high or thing.area < least_area:
        return False
    near = bool(placed) and rng.random() < overlap_share
    for trial in range(60):
        if trial == 40:
            near = False
        if near:
            other = placed[int(rng.integers(len(placed)))]
            direction = 1.0 if rng.random() < 0.5 else -1.0
            reach = (thing.radius + other.radius) * float(rng.uniform(1.0, 1.25))
            angle = float(rng.uniform(-0.9, 0.9))
            x = other.x + reach * math.sin(angle) * 1.1
            y = other.y + direction * reach * math.cos(angle)
            if not (u_low <= x <= u_high and v_low <= y * sine <= v_high):
                continue
        else:
            x = float(rng.uniform(u_low, u_high))
            y = float(rng.uniform(v_low, v_high)) / sine
        if any((x - o.x) ** 2 + (y - o.y) ** 2 < (thing.radius + o.radius) ** 2 for o in placed):
            continue
        thing.x, thing.y = round(x, 4), round(y, 4)
        every = sorted([*placed, thing], key=lambda c: -c.y)
        canvas = np.zeros((rows + 8, columns + 8), np.int8)
        for number, c in enumerate(every, 1):
            r = 4 + max(0, round(rows / 2 - c.y * sine / coarse) + c.row)
            k = 4 + max(0, round(columns / 2 + c.x / coarse) + c.column)
            h, w = c.mask.shape
            window = canvas[r : r + h, k : k + w]
            np.putmask(window, c.mask[: window.shape[0], : window.shape[1]], number)
        counts = np.bincount(canvas.reshape(-1), minlength=len(every) + 1)[1:].tolist()
        fractions = [n / c.area for n, c in zip(counts, every, strict=True)]
        # the coarse grid errs more for small things: ask for more than is promised
        if min(counts) < least_area or any(
            f < MIN_VISIBLE_FRACTION + 0.04 + 15.0 / c.area
            for f, c in zip(fractions, every, strict=True)
        ):
            continue
        if trial < 40:
            newly = sum(f < 0.95 for f in fractions) - sum(c.visible < 0.95 for c in placed)
            if near and newly <= 0:
                continue
            if not near and newly > 0:
                continue
        for c, fraction in zip(every, fractions, strict=True):
            c.visible = fraction
        placed.append(thing)
        return True
    return False

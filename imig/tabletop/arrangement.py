"""Places for things on a table: none off the picture, none hidden too much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imig.tabletop.identity import Identity
from imig.tabletop.projection import Posed, projected_extents, silhouettes, yaw_matrix
from imig.tabletop.records import Mask, PlacedThing
from imig.tabletop.scenery import Scenery
from imig.tabletop.shapes import build_thing

MIN_VISIBLE_FRACTION = 0.40
"""Of its full mask, an instance keeps at least this much visible."""
MIN_VISIBLE_AREA = 0.003
"""An instance's visible mask covers at least this much of the image."""

# the largest and smallest extent of a thing, as a part of the image side, by number of things
_SIZES: dict[int, tuple[float, float]] = {
    1: (0.40, 0.60), 2: (0.28, 0.45), 3: (0.25, 0.42), 4: (0.22, 0.38), 5: (0.20, 0.34),
    6: (0.19, 0.31), 7: (0.18, 0.285), 8: (0.17, 0.265),
}  # fmt: skip
_SHRINK = 0.93
"""Of all things, from one arrangement that failed to the next."""
_ARRANGEMENTS = 12

_OVERLAP_SHARE = 0.40
"""Of the things: those that are to hide a part of another, or to be hidden by it."""
_TRIALS = 60
_TRIALS_AS_WANTED = 40
"""For a thing to overlap another, or to stand free; after these it may stand as it comes."""
_WHOLE = 0.95
"""A thing of which less is seen counts as partly hidden."""

_CELL = 2.0 / 72
"""Side of a cell of the coarse grid on which it is counted what hides what, in scene units."""
_BORDER = 4
"""Cells around the grid: silhouettes may reach over its edge by rounding."""
_MARGIN = 0.03
"""From a thing to the picture's edge, in scene units."""


def arrange(
    rng: np.random.Generator, identities: Sequence[Identity], scenery: Scenery
) -> tuple[PlacedThing, ...] | None:
    """Find places for all identities, or None after a fixed number of tries at falling sizes."""
    short = min(scenery.width, scenery.height)
    side = 2.0 * min(math.sqrt(scenery.width * scenery.height) / short, 1.3)
    low, high = _SIZES[min(max(len(identities), 1), 8)]
    wanted = [float(rng.uniform(low, high)) * side for _ in identities]
    yaws = [round(float(rng.uniform(0, 360)), 2) for _ in identities]
    unit = [
        Posed(build_thing(identity), yaw_matrix(yaw), (0.0, 0.0, 0.0), 1.0)
        for identity, yaw in zip(identities, yaws, strict=True)
    ]
    extents = projected_extents(unit, scenery.camera_elevation)
    view = _View.of(scenery)
    for attempt in range(_ARRANGEMENTS):
        shrink = _SHRINK**attempt
        scales = [round(w * shrink / max(e), 4) for w, e in zip(wanted, extents, strict=True)]
        things = _candidates(unit, scales, scenery.camera_elevation)
        placed: list[_Candidate] = []
        largest_first = sorted(things, key=lambda thing: -thing.area)
        if all(_place(rng, thing, placed, view) for thing in largest_first):
            return tuple(
                PlacedThing(identity, (thing.x, thing.y), yaw, thing.scale)
                for identity, yaw, thing in zip(identities, yaws, things, strict=True)
            )
    return None


@dataclass
class _Candidate:
    """A thing to place: its silhouette on the coarse grid, relative to its foot point."""

    scale: float
    radius: float
    mask: Mask
    row: int
    column: int
    area: int
    """Cells of the silhouette."""
    x: float = 0.0
    y: float = 0.0
    visible: float = 1.0
    """Share of the area, among those placed so far."""


def _candidates(
    unit: Sequence[Posed], scales: Sequence[float], camera_elevation: float
) -> list[_Candidate]:
    """Things of scale 1 at other scales."""
    posed = [
        Posed(one.thing, one.rotation, one.position, scale)
        for one, scale in zip(unit, scales, strict=True)
    ]
    return [
        _Candidate(
            scale=one.scale,
            radius=one.thing.radius * one.scale,
            mask=mask,
            row=row,
            column=column,
            area=int(np.count_nonzero(mask)),
        )
        for one, (mask, row, column) in zip(
            posed, silhouettes(posed, camera_elevation, _CELL), strict=True
        )
    ]


def _place(
    rng: np.random.Generator, thing: _Candidate, placed: list[_Candidate], view: _View
) -> bool:
    """Place one more thing: append it to `placed` and return True when it found room."""
    room = view.room(thing)
    if room is None or thing.area < view.least_area:
        return False
    near = bool(placed) and rng.random() < _OVERLAP_SHARE
    for trial in range(_TRIALS):
        as_wanted = trial < _TRIALS_AS_WANTED
        near = near and as_wanted
        foot = room.beside_one_of(placed, thing, rng) if near else room.anywhere(rng)
        if foot is None or _collides(thing, foot, placed):
            continue
        thing.x, thing.y = round(foot[0], 4), round(foot[1], 4)
        every = sorted([*placed, thing], key=lambda one: -one.y)
        areas = view.visible_areas(every)
        fractions = [area / one.area for area, one in zip(areas, every, strict=True)]
        if not _are_seen(every, areas, fractions, least_area=view.least_area):
            continue
        hidden_before = sum(one.visible < _WHOLE for one in placed)
        hides_more = sum(fraction < _WHOLE for fraction in fractions) > hidden_before
        if as_wanted and near != hides_more:
            continue
        for one, fraction in zip(every, fractions, strict=True):
            one.visible = fraction
        placed.append(thing)
        return True
    return False


def _collides(thing: _Candidate, foot: tuple[float, float], placed: Sequence[_Candidate]) -> bool:
    x, y = foot
    return any(
        (x - one.x) ** 2 + (y - one.y) ** 2 < (thing.radius + one.radius) ** 2 for one in placed
    )


def _are_seen(
    things: Sequence[_Candidate],
    areas: Sequence[int],
    fractions: Sequence[float],
    *,
    least_area: float,
) -> bool:
    """Whether enough is seen of each thing."""
    # the coarse grid errs more for small things: ask for more than is promised
    return min(areas) >= least_area and all(
        fraction >= MIN_VISIBLE_FRACTION + 0.04 + 15.0 / one.area
        for fraction, one in zip(fractions, things, strict=True)
    )


@dataclass(frozen=True)
class _Room:
    """Where a thing's foot point may lie: x = u to the right, v = y * sine upwards."""

    u_low: float
    u_high: float
    v_low: float
    v_high: float
    sine: float

    def anywhere(self, rng: np.random.Generator) -> tuple[float, float]:
        x = float(rng.uniform(self.u_low, self.u_high))
        return x, float(rng.uniform(self.v_low, self.v_high)) / self.sine

    def beside_one_of(
        self, placed: Sequence[_Candidate], thing: _Candidate, rng: np.random.Generator
    ) -> tuple[float, float] | None:
        """Close before or behind another thing; None where that is out of this room."""
        other = placed[int(rng.integers(len(placed)))]
        direction = 1.0 if rng.random() < 0.5 else -1.0
        reach = (thing.radius + other.radius) * float(rng.uniform(1.0, 1.25))
        angle = float(rng.uniform(-0.9, 0.9))
        x = other.x + reach * math.sin(angle) * 1.1
        y = other.y + direction * reach * math.cos(angle)
        inside = self.u_low <= x <= self.u_high and self.v_low <= y * self.sine <= self.v_high
        return (x, y) if inside else None


@dataclass(frozen=True)
class _View:
    """A scenery's picture on the coarse grid."""

    columns: int
    rows: int
    half_width: float
    half_height: float
    sine: float
    """Of the camera's elevation: depth on the table to height in the picture."""
    edge: float
    """The table's far edge."""
    least_area: float
    """Cells that must be seen of a thing."""

    @classmethod
    def of(cls, scenery: Scenery) -> _View:
        width, height = scenery.width, scenery.height
        short = min(width, height)
        columns, rows = round(width / short * 72), round(height / short * 72)
        return cls(
            columns=columns,
            rows=rows,
            half_width=width / short,
            half_height=height / short,
            sine=math.sin(math.radians(scenery.camera_elevation)),
            edge=scenery.backdrop.edge,
            least_area=MIN_VISIBLE_AREA * 1.15 * rows * columns,
        )

    def room(self, thing: _Candidate) -> _Room | None:
        """Where the thing lies wholly in the picture and on the table; None: nowhere."""
        height, width = thing.mask.shape
        u_low = -self.half_width + _MARGIN - thing.column * _CELL
        u_high = self.half_width - _MARGIN - (thing.column + width) * _CELL
        v_low = -self.half_height + _MARGIN + (thing.row + height) * _CELL
        v_high = min(
            self.half_height - _MARGIN + thing.row * _CELL,
            (self.edge - thing.radius * 0.9) * self.sine,
        )
        if u_low > u_high or v_low > v_high:
            return None
        return _Room(u_low, u_high, v_low, v_high, self.sine)

    def visible_areas(self, things: Sequence[_Candidate]) -> list[int]:
        """Cells that are seen of each thing; from the farthest to the nearest."""
        shape = self.rows + 2 * _BORDER, self.columns + 2 * _BORDER
        canvas = np.zeros(shape, np.int8)
        for number, one in enumerate(things, 1):
            row = round(self.rows / 2 - one.y * self.sine / _CELL) + one.row
            column = round(self.columns / 2 + one.x / _CELL) + one.column
            top, left = _BORDER + max(0, row), _BORDER + max(0, column)
            height, width = one.mask.shape
            window = canvas[top : top + height, left : left + width]
            np.putmask(window, one.mask[: window.shape[0], : window.shape[1]], number)
        counts: list[int] = np.bincount(canvas.reshape(-1), minlength=len(things) + 1).tolist()
        return counts[1:]

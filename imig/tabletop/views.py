"""One identity alone, large in the frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imig.tabletop import vocabulary
from imig.tabletop.identity import Identity
from imig.tabletop.projection import Posed, lowest_point, projected_bounds, yaw_matrix
from imig.tabletop.records import Box, Image, Mask, mask_bounds
from imig.tabletop.render import draw
from imig.tabletop.scenery import LIGHTINGS, Scenery, sample_scenery
from imig.tabletop.shapes import build_thing
from imig.tabletop.textures import Backdrop
from imig.tabletop.wording import Motion, background_in, mood_in


@dataclass(frozen=True)
class View:
    """How one identity is shown alone.

    `azimuth_degrees` turns the thing; `background` is a table name of `vocabulary.TABLES`,
    "blank", or None for one chosen by the seed.
    """

    azimuth_degrees: float = 0.0
    mood: str = "studio"
    motion: Motion = "still"
    background: str | None = None
    size: tuple[float, float] = (0.60, 0.74)
    """Least and greatest extent of the thing, as a part of the picture's."""


FOUND_AGAIN = (0.38, 0.50)
"""A `View.size` at which the tiny models, trained on scenes of several things, find the thing."""


def render_identity(
    identity: Identity, *, width: int, height: int, view: View | None = None, seed: int = 0
) -> tuple[Image, Mask, Box]:
    """One thing alone, large in the frame: image, mask (height x width) and the mask's box.

    The seed moves light, size and table within the view. Raises ValueError for an unknown mood,
    motion or background.
    """
    view = view or View()
    if view.mood not in LIGHTINGS:
        raise ValueError(f"unknown mood {view.mood!r}: one of {', '.join(vocabulary.MOODS)}")
    if view.motion not in ("still", "tilted", "airborne", "blurred"):
        raise ValueError(f"unknown motion {view.motion!r}")
    if view.background not in (None, "blank", *vocabulary.TABLES):
        raise ValueError(f"unknown background {view.background!r}")
    posed, scenery = pose_alone(identity, width=width, height=height, view=view, seed=seed)
    drawing = draw([posed], scenery)
    mask = drawing.visible_masks[0]
    return drawing.image, mask, mask_bounds(mask)


def pose_alone(
    identity: Identity, *, width: int, height: int, view: View, seed: int
) -> tuple[Posed, Scenery]:
    """How `render_identity` poses the thing, and what it sets around it; a view that it takes."""
    rng = np.random.default_rng((seed, 4))
    scenery = sample_scenery(rng, width, height, view.mood)
    backdrop = _on_background(scenery.backdrop, view.background)
    size = float(rng.uniform(*view.size))
    lean, tip = float(rng.uniform(14, 26)), float(rng.uniform(-14, 14))
    lean = -lean if rng.random() < 0.5 else lean
    thing = build_thing(identity)
    rotation = yaw_matrix(view.azimuth_degrees)
    if view.motion in ("tilted", "airborne"):
        rotation = _tilt_matrix(lean, tip) @ rotation
    unit = Posed(thing, rotation, (0.0, 0.0, 0.0), 1.0)
    u0, u1, v0, v1 = projected_bounds([unit], scenery.camera_elevation)[0]
    frame = (2.0 * width / min(width, height), 2.0 * height / min(width, height))
    room = 0.86 if view.motion == "airborne" else 1.0
    scale = size * room * min(frame[0] / (u1 - u0), frame[1] / (v1 - v0))
    sine = math.sin(math.radians(scenery.camera_elevation))
    cosine = math.cos(math.radians(scenery.camera_elevation))
    # lift a leaning thing until nothing is under the table
    sunk = lowest_point(unit) * scale
    lift = max(0.0, -sunk)
    if view.motion == "airborne":
        lift += 0.30
    x = -(u0 + u1) / 2 * scale
    centre_v = -0.06 + (0.12 if view.motion == "airborne" else 0.0)
    y = (centre_v - (v0 + v1) / 2 * scale - lift * cosine) / sine
    edge = max(backdrop.edge, y + thing.radius * scale + 0.05)
    scenery = replace(
        scenery,
        backdrop=replace(backdrop, edge=edge),
        streak=0.5 if view.motion == "blurred" else 0.0,
    )
    return Posed(thing, rotation, (x, y, lift), scale), scenery


def scenery_of_prompt(rng: np.random.Generator, prompt: str, *, width: int, height: int) -> Scenery:
    """A random scenery with the mood and the table that a text names."""
    scenery = sample_scenery(rng, width, height, mood_in(prompt))
    return replace(scenery, backdrop=_on_background(scenery.backdrop, background_in(prompt)))


def _on_background(backdrop: Backdrop, background: str | None) -> Backdrop:
    """The backdrop with a table of `vocabulary.TABLES`, or "blank"; None leaves it as it is."""
    if background is None:
        return backdrop
    if background == "blank":
        return Backdrop("paper", "none", backdrop.seed, 50.0, 0.0)
    return replace(backdrop, table=background)


def _tilt_matrix(lean: float, tip: float) -> NDArray[np.float64]:
    """Lean to the side (about y), then tip forward or back (about x); degrees."""
    c, s = math.cos(math.radians(lean)), math.sin(math.radians(lean))
    side = np.array(((c, 0.0, s), (0.0, 1.0, 0.0), (-s, 0.0, c)))
    c, s = math.cos(math.radians(tip)), math.sin(math.radians(tip))
    forth = np.array(((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)))
    result: NDArray[np.float64] = forth @ side
    return result

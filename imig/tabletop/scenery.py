"""What surrounds the things of a picture: its format, backdrop, camera and light."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from imig.tabletop import vocabulary
from imig.tabletop.colours import Colour
from imig.tabletop.textures import Backdrop


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
class Scenery:
    """Everything about a picture but its things; width and height in pixels, angles in degrees."""

    width: int
    height: int
    mood: str
    backdrop: Backdrop
    camera_elevation: float
    light_azimuth: float
    light_elevation: float
    streak: float = 0.0
    """Length of the horizontal motion blur of the backdrop, in scene units."""


def sample_scenery(
    rng: np.random.Generator, width: int, height: int, mood: str | None = None
) -> Scenery:
    """A random scenery for a format in pixels; of the given mood, or any.

    Raises ValueError for a format below 16x16.
    """
    if width < 16 or height < 16:
        raise ValueError(f"an image needs at least 16x16 pixels, not {width}x{height}")
    mood = mood or vocabulary.MOODS[int(rng.integers(len(vocabulary.MOODS)))]
    light = LIGHTINGS[mood]
    camera = round(float(rng.uniform(27.0, 37.0)), 2)
    wall = vocabulary.WALLS[int(rng.integers(len(vocabulary.WALLS)))]
    if wall == "none":
        edge = 50.0
    else:
        top = height / min(width, height)
        edge = round(top * float(rng.uniform(0.12, 0.55)) / math.sin(math.radians(camera)), 4)
    backdrop = Backdrop(
        table=vocabulary.TABLES[int(rng.integers(len(vocabulary.TABLES)))],
        wall=wall,
        seed=int(rng.integers(2**31)),
        edge=edge,
        tint=round(float(rng.random()), 4),
    )
    side = -1 if rng.random() < 0.5 else 1
    return Scenery(
        width=width,
        height=height,
        mood=mood,
        backdrop=backdrop,
        camera_elevation=camera,
        light_azimuth=round(side * float(rng.uniform(25.0, 80.0)), 2),
        light_elevation=round(float(rng.uniform(*light.elevation)), 2),
    )

"""What a scene is: its parameters, and its picture with the exact ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imig.tabletop.identity import Identity
from imig.tabletop.scenery import Scenery
from imig.tabletop.textures import Backdrop

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class PlacedThing:
    """Where a thing stands: its foot point (x to the right, y away), turn and size.

    Scene units: the short side of the image is 2. `scale` is the size of the thing's unit.
    """

    identity: Identity
    position: tuple[float, float]
    yaw_degrees: float
    scale: float


@dataclass(frozen=True)
class TabletopScene:
    """All parameters of one picture, no pixels. The same scene always gives the same bytes."""

    seed: int
    width: int
    height: int
    style: str
    backdrop: Backdrop
    camera_elevation: float
    light_azimuth: float
    light_elevation: float
    placements: tuple[PlacedThing, ...]

    @classmethod
    def in_scenery(
        cls, scenery: Scenery, placements: tuple[PlacedThing, ...], *, seed: int
    ) -> TabletopScene:
        """Things in a scenery; its style is the mood."""
        return cls(
            seed=seed,
            width=scenery.width,
            height=scenery.height,
            style=scenery.mood,
            backdrop=scenery.backdrop,
            camera_elevation=scenery.camera_elevation,
            light_azimuth=scenery.light_azimuth,
            light_elevation=scenery.light_elevation,
            placements=placements,
        )

    @property
    def scenery(self) -> Scenery:
        """What surrounds the things."""
        return Scenery(
            width=self.width,
            height=self.height,
            mood=self.style,
            backdrop=self.backdrop,
            camera_elevation=self.camera_elevation,
            light_azimuth=self.light_azimuth,
            light_elevation=self.light_elevation,
        )


@dataclass
class InstanceTruth:
    """The ground truth of one instance. Boxes are (x1, y1, x2, y2), x2 and y2 exclusive.

    `box` bounds the visible `mask`, `full_box` the `full_mask` (as if nothing stood in front);
    both masks are bool, height x width. `layer` 0 is the farthest, drawn first.
    `occluded_fraction` = 1 - visible / full area.
    """

    identity: Identity
    phrase: str
    noun: str
    box: Box
    full_box: Box
    mask: Mask
    full_mask: Mask
    layer: int
    occluded_fraction: float


@dataclass
class RenderedScene:
    """A picture (uint8, height x width x 3) with its truth; instances from farthest to nearest."""

    scene: TabletopScene
    image: Image
    instances: list[InstanceTruth]
    caption: str
    style: str


def mask_bounds(mask: Mask) -> Box:
    """(x1, y1, x2, y2) of a mask, exclusive at the end; (0, 0, 0, 0) for an empty one."""
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) == 0:
        return (0, 0, 0, 0)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    return (int(columns[0]), top, int(columns[-1]) + 1, bottom)

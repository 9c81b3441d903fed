"""A model family of one's own: a "captioner" that says which colour most of a picture has.

    PYTHONPATH=examples imig build examples/colours.yaml --output captioned

A family is a class with an attribute `family`, which says what it is there to do; its methods are
those of a protocol in `imig.models.protocols`. A recipe names the class; nothing of imig is edited.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from PIL.Image import Image

from imig.models.batched import ResolvedWeights
from imig.models.family import Family

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 200),
    "yellow": (230, 200, 40),
    "grey": (128, 128, 128),
    "white": (250, 250, 250),
    "black": (10, 10, 10),
}


class ColourCaptioner:
    """A `Captioner` without weights: a program, so `tiny` is all there is.

    A family that has weights takes `(weights, runtime)` and finds its files in `weights.path`, its
    device, dtype and batch size in `runtime`.
    """

    family: ClassVar[Family] = Family(name="colours", tasks=("caption",), layout="program")

    def __init__(self, weights: ResolvedWeights) -> None:
        self.name = weights.name

    def caption(self, images: Sequence[Image]) -> list[str]:
        return [f"things on a {_colour(image)} table" for image in images]


def _colour(image: Image) -> str:
    mean = np.asarray(image.convert("RGB")).reshape(-1, 3).mean(axis=0)
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))

"""A stage of one's own: how bright a target is, and pictures that are too dark turned down.

    PYTHONPATH=examples imig build examples/brightness.yaml --output bright

A stage is one file: its settings, what it reads and writes, and the code. A recipe names it under
`extra`; nothing of imig is edited.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from imig.recipe.parts import Fraction, StageConfig
from imig.sample import Sample
from imig.stages.base import Stage


class BrightnessConfig(StageConfig):
    """What may stand in the recipe beside `stage` and `after`."""

    min_brightness: Fraction = Field(default=0.2, description="Mean grey value, 1 is white.")


class BrightnessStage(Stage[BrightnessConfig]):
    """Stores the figure `brightness` of each scene.

    Turns down: "too dark".
    """

    name = "brightness"
    reads = frozenset({"target"})

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        for sample in samples:
            grey = np.asarray(sample.target().convert("L"))
            brightness = round(float(grey.mean()) / 255, 4)
            sample.scene.scores.figures["brightness"] = brightness
            if brightness < self.config.min_brightness:
                sample.turn_down(
                    stage=self.name, reason="too dark", figures={"brightness": brightness}
                )
        return samples

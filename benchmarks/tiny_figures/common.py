"""What the measurements share: figures, held-out scenes, loading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from imig.models.registry import load_model
from imig.recipe.parts import ModelConfig
from imig.tabletop import RenderedScene, render_scene, sample_scene
from imig.tabletop.scene import Combinations

FIRST_SEED = 30_000_000
"""Trainings use seeds below 10,000,000; they choose nothing on scenes from here."""
BATCH = 16


@dataclass(frozen=True)
class Figure:
    """A row of the table; `bar` is None where nothing was promised."""

    family: str
    name: str
    measured: float
    bar: float | None = None
    at_most: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the bar is reached; None without one."""
        if self.bar is None:
            return None
        return self.measured <= self.bar if self.at_most else self.measured >= self.bar


@dataclass(frozen=True)
class Options:
    """What the measurements share."""

    scenes: int
    weights: str
    device: str


def draw_scenes(
    count: int, *, offset: int, instances: tuple[int, int] = (2, 8), novel: bool = False
) -> list[RenderedScene]:
    """Held-out scenes; with `novel`, each has at least one combination that was never trained."""
    first = FIRST_SEED + offset
    kind: Combinations = "novel" if novel else "all"
    return [
        render_scene(sample_scene(seed, instances=instances, combinations=kind))
        for seed in range(first, first + count)
    ]


def pictures(scenes: Iterable[RenderedScene]) -> list[Image.Image]:
    """The scenes' images as the families take them."""
    return [Image.fromarray(scene.image) for scene in scenes]


def chunks(scenes: Sequence[RenderedScene], title: str) -> Iterable[Sequence[RenderedScene]]:
    """Scenes in batches, with a progress display."""
    starts = range(0, len(scenes), BATCH)
    for start in track(starts, description=title, transient=True, console=Console(stderr=True)):
        yield scenes[start : start + BATCH]


def load(family: str, options: Options) -> Any:
    """The family's model."""
    config = ModelConfig(family=family, weights=options.weights, device=options.device)
    return load_model(config, batch_size=BATCH)


def boxes_of(scene: RenderedScene) -> NDArray[np.float32]:
    """(n, 4) boxes of the visible parts."""
    return np.array([i.box for i in scene.instances], np.float32).reshape(-1, 4)

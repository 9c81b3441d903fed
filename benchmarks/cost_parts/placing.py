"""What one and eight GPUs are given, and how fast the workers then are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from imig.estimate.placing import HAIR, Asking


@dataclass(frozen=True)
class Setting:
    """What a stage's workers are given."""

    gpus: float
    concurrency: int = 1
    offload: str = "none"
    batch_size: int | None = None
    """None: the recipe's."""


Settings = Mapping[str, Setting]


@dataclass(frozen=True)
class Proposal:
    """Settings of all stages of a recipe for a number of GPUs."""

    gpus: int
    settings: Settings


def _small(**gpus: float) -> dict[str, Setting]:
    return {stage: Setting(one) for stage, one in gpus.items()}


PROPOSALS: Final[dict[str, tuple[Proposal, ...]]] = {
    "basic": (
        Proposal(
            1, {"draw": Setting(0.6), **_small(ground=0.1, segment=0.1, score=0.1, quality=0.1)}
        ),
        Proposal(
            8, {"draw": Setting(0.6, 8), **_small(ground=0.1, segment=0.1, score=0.1, quality=0.1)}
        ),
    ),
    "complex": (
        Proposal(
            1,
            {
                "draw": Setting(0.3, offload="model", batch_size=2),
                "edit": Setting(0.3, offload="model", batch_size=2),
                "ground": Setting(0.05, batch_size=1),
                "segment": Setting(0.1, batch_size=1),
                "reground": Setting(0.15, batch_size=1),
                **_small(score=0.05, quality=0.05),
            },
        ),
        Proposal(
            8,
            {
                "draw": Setting(0.6),
                "edit": Setting(0.6, 7),
                **_small(ground=0.05, segment=0.1, reground=0.15, score=0.05, quality=0.05),
            },
        ),
    ),
    "flexible": (
        Proposal(
            1,
            {
                "draw": Setting(0.2, offload="sequential", batch_size=8),
                "compose": Setting(0.4, offload="model"),
                "reground": Setting(0.1, batch_size=1),
                "ground": Setting(0.05, batch_size=1),
                "segment": Setting(0.05, batch_size=1),
                **_small(faces=0.05, match=0.05, score=0.05, quality=0.05),
            },
        ),
        Proposal(
            8,
            {
                "draw": Setting(0.6),
                "compose": Setting(1.0, 7),
                **_small(
                    reground=0.1, ground=0.05, segment=0.05, faces=0.05, match=0.05, score=0.05,
                    quality=0.05,
                ),
            },
        ),
    ),
}  # fmt: skip
"""What one and eight GPUs of 80 GB are given."""


def asked(settings: Settings) -> float:
    """GPUs that all workers ask for together; more than there are, and a build does not start."""
    return sum(one.gpus * one.concurrency for one in settings.values())


def starts(settings: Settings, gpus: int) -> bool:
    """Whether a build starts on so many GPUs."""
    return asked(settings) <= gpus + HAIR


def asking(settings: Settings, order: Sequence[str]) -> list[Asking]:
    """The workers of each stage, in the order of the stages."""
    return [Asking(stage, settings[stage].gpus, settings[stage].concurrency) for stage in order]


def seconds_a_scene(
    placed: Sequence[Sequence[str]], seconds: Mapping[str, float], settings: Settings
) -> float:
    """Seconds between two scenes, when every stage is always busy.

    Workers of a stage share its scenes evenly, workers on a GPU share its time: the slowest GPU
    decides.
    """
    return max(
        sum(seconds[stage] / settings[stage].concurrency for stage in workers) for workers in placed
    )

"""A recipe's cost as a whole, and what it means for a number of GPUs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.cost_parts.placing import (
    Proposal,
    Setting,
    Settings,
    asked,
    asking,
    seconds_a_scene,
    starts,
)
from imig.estimate.memory import StageMemory, stage_memory, transfer_seconds, with_batch
from imig.estimate.passes import StageCost
from imig.estimate.placing import fullest, place

LARGE_CARD: Final = 80e9
"""Bytes of an 80 GB GPU."""
SMALL_CARD: Final = 24e9


@dataclass(frozen=True)
class RecipeCost:
    """All stages of a recipe."""

    name: str
    samples: int
    """That are wanted."""
    recipe_inputs: int | None
    """Scenes that go in as the recipe stands."""
    survival: float
    rate: float
    """Operations a second of a GPU."""
    stages: tuple[StageCost, ...]
    memories: Mapping[str, StageMemory]

    @property
    def inputs(self) -> int:
        """Scenes that must go in."""
        return math.ceil(self.samples / self.survival)

    @property
    def networks(self) -> set[str]:
        return {name for stage in self.stages for name in stage.networks}

    @property
    def operations(self) -> float:
        """For a scene."""
        return sum(stage.operations for stage in self.stages)

    @property
    def seconds(self) -> dict[str, float]:
        """GPU seconds of each stage for a scene, without those of offloading."""
        return {stage.stage: stage.operations / self.rate for stage in self.stages}

    @property
    def gpu_hours(self) -> float:
        """For all scenes that must go in."""
        return self.inputs * sum(self.seconds.values()) / 3600

    @property
    def dominating(self) -> str:
        """The stage with the most GPU time."""
        return max(self.stages, key=lambda one: one.operations).stage

    @property
    def order(self) -> list[str]:
        return [stage.stage for stage in self.stages]


@dataclass(frozen=True)
class Verdict:
    """Settings of a recipe's stages, judged."""

    recipe: str
    what: str
    gpus: int
    card_bytes: float
    settings: Settings
    asked: float
    starts: bool
    """Whether the workers ask for no more GPUs than there are."""
    gpus_needed: int
    fullest_bytes: int
    """On the GPU that holds most; an estimate."""
    seconds_a_scene: float
    hours: float
    """For all scenes that must go in, on as many GPUs as the settings need."""

    @property
    def fits(self) -> bool:
        return self.fullest_bytes <= self.card_bytes


def judge(
    cost: RecipeCost, settings: Settings, *, what: str, gpus: int, card: float = LARGE_CARD
) -> Verdict:
    """Whether a build with these settings starts, fits, and how long it takes."""
    placed = place(asking(settings, cost.order))
    seconds, worker_bytes = cost.seconds, {}
    for stage in cost.stages:
        setting = settings[stage.stage]
        changed = with_batch(stage, setting.batch_size)
        seconds[stage.stage] += transfer_seconds(changed, setting.offload)
        worker_bytes[stage.stage] = stage_memory(changed).worker(setting.offload)
    apart = seconds_a_scene(placed, seconds, settings)
    return Verdict(
        recipe=cost.name,
        what=what,
        gpus=gpus,
        card_bytes=card,
        settings=settings,
        asked=asked(settings),
        starts=starts(settings, gpus) and len(placed) <= gpus,
        gpus_needed=len(placed),
        fullest_bytes=fullest(placed, worker_bytes),
        seconds_a_scene=apart,
        hours=cost.inputs * apart / 3600,
    )


def as_it_stands(cost: RecipeCost) -> Verdict:
    """The recipe's own figures, on one GPU of 80 GB."""
    settings = {
        stage.stage: Setting(stage.resources.gpus, stage.resources.concurrency, stage.offload)
        for stage in cost.stages
    }
    return judge(cost, settings, what="as it stands", gpus=1)


def on_small_card(cost: RecipeCost, rate: float) -> Verdict:
    """Everything on one GPU of 24 GB, in batches of 1, generators offloaded layer by layer.

    `rate`: that card's operations a second.
    """
    share = 1 / len(cost.stages)
    settings = {
        stage.stage: Setting(
            share, offload="sequential" if stage.generator else "none", batch_size=1
        )
        for stage in cost.stages
    }
    return judge(
        replace(cost, rate=rate),
        settings,
        what="sequential, batches of 1",
        gpus=1,
        card=SMALL_CARD,
    )


def proposed(cost: RecipeCost, proposal: Proposal) -> Verdict:
    """A proposal on its number of GPUs of 80 GB."""
    return judge(cost, proposal.settings, what="proposal", gpus=proposal.gpus)

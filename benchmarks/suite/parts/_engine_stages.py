"""Stages that cost what they are told to: the engine is measured, not a model."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from imig.engine.plan import Plan, Step
from imig.recipe.file import load_recipe
from imig.recipe.parts import Resources, StageConfig
from imig.sample import Sample
from imig.schema import Scene, Source
from imig.stages.base import BuildContext, Stage

CONTEXT = BuildContext(recipe_seed=0, subset="basic")


class Placeholders(Stage):
    """The source: a scene a number, with a picture of so many bytes."""

    name = "source"

    def __init__(self, count: int, *, picture_bytes: int) -> None:
        super().__init__(StageConfig(), CONTEXT)
        self._count = count
        self._picture_bytes = picture_bytes

    def count(self) -> int:
        return self._count

    def fingerprint(self) -> str:
        return str(self._count)

    def enumerate(self, start: int, stop: int) -> list[Sample]:
        return [
            Sample(
                Scene(
                    id=f"basic-{number:08d}",
                    subset="basic",
                    width=8,
                    height=8,
                    source=Source(kind="tabletop"),
                    seed=number,
                )
            )
            for number in range(start, stop)
        ]

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        for sample in samples:
            sample.files["target.jpg"] = bytes(self._picture_bytes)
        return samples


class Working(Stage):
    """Waits as for a GPU, then computes, so long for each scene."""

    name: ClassVar[str] = "working"

    def __init__(self, name: str, *, wait: float = 0.0, compute: float = 0.0) -> None:
        super().__init__(StageConfig(), CONTEXT)
        self.name = name  # type: ignore[misc]
        self._wait = wait
        self._compute = compute

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        if self._wait:
            time.sleep(self._wait * len(samples))
        until = time.process_time() + self._compute * len(samples)
        while time.process_time() < until:
            pass
        return samples


class TurnDown(Stage):
    """The last stage: every scene is turned down, so that no part has a sample to write."""

    name = "filter"

    def __init__(self) -> None:
        super().__init__(StageConfig(), CONTEXT)

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        for sample in samples:
            sample.turn_down(stage=self.name, reason="measured", figures={})
        return samples


def make_plan(stages: list[tuple[Stage, dict[str, Any]]], *, output: Any, fuse: str) -> Plan:
    """A plan of these stages and their resources; the recipe says nothing but `fuse`."""
    recipe = load_recipe("demo", overrides=[f"engine.fuse={fuse}"])
    steps = tuple(
        Step(stage, Resources.model_validate({"batch_size": 8} | resources))
        for stage, resources in stages
    )
    source = stages[0][0]
    assert isinstance(source, Placeholders)
    return Plan(loaded=recipe, steps=steps, models=(), scenes=source.count(), output=output)

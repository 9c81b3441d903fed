"""Small real stages to drive the engine with: they draw, judge, fail and die on demand.

No models: what is tested is the engine. Ray's workers import this module too.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

from PIL import Image, ImageDraw

from imig.engine.plan import Plan, Step
from imig.errors import UsageError
from imig.recipe.file import load_recipe
from imig.recipe.parts import Resources, StageConfig
from imig.sample import Sample, derive_seed, image_to_jpeg
from imig.schema import Scene, Source
from imig.stages.base import BuildContext, Stage
from imig.stores.path import OutputPath

CONTEXT = BuildContext(recipe_seed=0, subset="basic")


class Draw(Stage):
    """Numbered pictures of a rectangle."""

    name = "source"
    writes = frozenset({"target"})

    def __init__(self, count: int, *, seconds: float = 0.0) -> None:
        super().__init__(StageConfig(), CONTEXT)
        self._count = count
        self._seconds = seconds

    def count(self) -> int:
        return self._count

    def fingerprint(self) -> str:
        return str(self._count)

    def describe(self) -> list[str]:
        return [f"rectangles: {self._count}"]

    def remarks(self) -> list[str]:
        return []

    def missing(self, stop: int) -> int:
        return 0

    def folders(self) -> list[Path]:
        return []

    def files(self) -> list[Path]:
        return []

    def can_open(self, sample_id: str) -> bool:
        return True

    def enumerate(self, start: int, stop: int) -> list[Sample]:
        ids = [f"basic-{number:08d}" for number in range(start, stop)]
        return [
            Sample(
                Scene(
                    id=one,
                    subset="basic",
                    width=1,
                    height=1,
                    source=Source(kind="tabletop"),
                    seed=derive_seed(one),
                )
            )
            for one in ids
        ]

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        time.sleep(self._seconds * len(samples))
        for sample in samples:
            shade = sample.scene.seed % 256
            image = Image.new("RGB", (32, 24), (shade, 255 - shade, 90))
            ImageDraw.Draw(image).rectangle((4, 4, 4 + shade % 20, 16), fill=(255, 255, 0))
            sample.files["target.jpg"] = image_to_jpeg(image)
            sample.scene.width, sample.scene.height = image.size
        return samples


class Judge(Stage):
    """Writes the composition of its batch into the caption, and misbehaves where it is told to.

    The caption makes bytes depend on who shared a batch, as a model's last bits do.
    """

    name = "filter"
    reads = frozenset({"target"})

    def __init__(
        self,
        *,
        reject_every: int = 7,
        raise_on: Collection[int] = (),
        seconds: float = 0.0,
        die_on: int | None = None,
        deaths: Path | None = None,
        max_deaths: int = 0,
        setup_error: Exception | None = None,
    ) -> None:
        super().__init__(StageConfig(), CONTEXT)
        self._reject_every = reject_every
        self._raise_on = frozenset(raise_on)
        self._seconds = seconds
        self._die_on = die_on
        self._deaths = deaths
        self._max_deaths = max_deaths
        self._setup_error = setup_error

    def setup(self) -> None:
        if self._setup_error is not None:
            raise self._setup_error

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        time.sleep(self._seconds * len(samples))
        batch = hashlib.sha256(" ".join(one.scene.id for one in samples).encode()).hexdigest()
        for sample in samples:
            number = int(sample.scene.id.rpartition("-")[2])
            sample.scene.caption += batch[:8]
            if number == self._die_on:
                self._die()
            if number in self._raise_on:
                raise ValueError(f"cannot judge {number}")
            if number % self._reject_every == 3:
                sample.turn_down(stage=self.name, reason="unlucky", figures={"number": number})
        return samples

    def _die(self) -> None:
        """As the kernel's out-of-memory killer does, `max_deaths` times."""
        assert self._deaths is not None
        died = len(list(self._deaths.iterdir()))
        if died < self._max_deaths:
            (self._deaths / str(died)).touch()
            os.kill(os.getpid(), signal.SIGKILL)


def missing_weight() -> UsageError:
    return UsageError("tiny weights are missing", cure="make weights")


def write_recipe(folder: Path, *, scenes_per_shard: int = 16, engine: str = "") -> Path:
    """A recipe that says how blocks and shards are cut; its source is not used."""
    path = folder / "engine-test.yaml"
    path.write_text(
        "name: engine-test\n"
        "source: {kind: tabletop}\n"
        f"engine: {{block_size: 4{engine}}}\n"
        f"write: {{scenes_per_shard: {scenes_per_shard}}}\n"
    )
    return path


def make_test_plan(
    output: OutputPath, *, recipe: Path, scenes: int, judge: Judge, concurrency: int = 1
) -> Plan:
    """Draw, then judge in batches of 3, which do not divide a block."""
    resources = Resources(batch_size=3, concurrency=concurrency)
    return Plan(
        loaded=load_recipe(recipe),
        steps=(Step(Draw(scenes)), Step(judge, resources)),
        models=(),
        scenes=scenes,
        output=output,
    )

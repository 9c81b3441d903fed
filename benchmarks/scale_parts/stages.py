"""A source of pictures, and plans whose stages wait as long as a model would compute."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from benchmarks.suite.parts._engine_stages import Placeholders, Working
from imig.engine.plan import Plan, Step
from imig.recipe.file import load_recipe
from imig.recipe.parts import Resources
from imig.sample import Sample
from imig.schema import Scene, Source

SIDE = 16
"""Pixels of a picture; what it weighs beside is appended to the JPEG."""


class Pictures(Placeholders):
    """The source of a whole build: the same small picture for every number, of `picture_bytes`."""

    writes = frozenset({"target"})

    def describe(self) -> list[str]:
        return []

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
        return [Sample(scene_of(number)) for number in range(start, stop)]

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        for sample in samples:
            sample.files["target.jpg"] = picture(self._picture_bytes)
        return samples


@dataclass(frozen=True)
class Load:
    """A stage of the simulation."""

    name: str
    seconds: float
    """A scene, on what one worker has."""
    workers: int = 1
    gpus: float = 0.0
    """A worker."""

    @property
    def bound(self) -> float:
        """Scenes a second that its workers could do, if they never waited."""
        return self.workers / self.seconds if self.seconds else float("inf")


def scene_of(number: int) -> Scene:
    return Scene(
        id=f"basic-{number:08d}",
        subset="basic",
        width=SIDE,
        height=SIDE,
        caption=f"A wooden chair beside a blue vase, number {number}",
        source=Source(kind="tabletop"),
        seed=number,
    )


@cache
def picture(size: int) -> bytes:
    """A JPEG of about so many bytes, which every decoder reads."""
    stream = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (120, 90, 60)).save(stream, "JPEG")
    data = stream.getvalue()
    comment = bytes(60_000)
    while len(data) + len(comment) < size:  # behind the first marker, as comments
        data = data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]
    return data


def make_plan(
    scenes: int,
    loads: list[Load],
    *,
    output: Path,
    block_size: int,
    picture_bytes: int,
    scenes_per_shard: int = 1000,
) -> Plan:
    """A build of these stages; what has a GPU has workers of its own."""
    output.mkdir(parents=True, exist_ok=True)
    recipe = output.parent / f"{output.name}.yaml"
    recipe.write_text(
        "name: scale\nsource: {kind: tabletop}\n"
        f"engine: {{block_size: {block_size}}}\nwrite: {{scenes_per_shard: {scenes_per_shard}}}\n"
    )
    steps = [Step(Pictures(scenes, picture_bytes=picture_bytes))]
    for load in loads:
        asked = {"concurrency": load.workers, "gpus": load.gpus, "cpus": 0.5 if load.gpus else 1}
        resources = Resources.model_validate({"batch_size": 8, **asked})
        steps.append(Step(Working(load.name, wait=load.seconds), resources))
    loaded = load_recipe(recipe)
    return Plan(loaded=loaded, steps=tuple(steps), models=(), scenes=scenes, output=output)

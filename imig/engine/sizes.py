"""Batch sizes that a build has found out, kept until it is finished: `.build/batch_sizes.json`.

A run that goes on begins with them, as the run that was killed would have gone on. The file has for
each stage the smallest size that any of its workers needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from pydantic import PositiveInt, TypeAdapter, ValidationError

from imig.engine.fitting import FittingSize
from imig.engine.plan import Plan
from imig.errors import DataError
from imig.output.tally import StageTally
from imig.recipe.parts import AUTO
from imig.schema import BatchShare, StageBatchSizes, first_problem
from imig.shards.atomic import atomic_write_bytes
from imig.stores.path import OutputPath, read_file

_SIZES = TypeAdapter(dict[str, PositiveInt])


def read_sizes(path: OutputPath) -> dict[str, int]:
    """By stage; empty where nothing has been found out yet.

    Raises
    ------
    DataError
        The file is damaged.
    """
    try:
        return _SIZES.validate_json(read_file(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        why = first_problem(error) if isinstance(error, ValidationError) else error.strerror
        raise DataError(
            f"the build's own record {path} cannot be read: {why}",
            cure=f"remove {path}: the batch sizes that fit are then looked for once more",
        ) from error


def begin_sizes(plan: Plan, found: Mapping[str, int]) -> dict[str, FittingSize]:
    """With which batch size the workers of each stage begin.

    `found` is what earlier runs of the build have left.
    """
    sizes = {}
    for step in plan.steps:
        name = step.stage.name
        first = step.resources.first_batch_size(plan.block_size)
        sizes[name] = FittingSize(step.resources.batch_size, min(first, found.get(name, first)))
    return sizes


class SizesFile:
    """Writes down what the workers tell of batch sizes, and says each change once."""

    def __init__(self, path: OutputPath, plan: Plan, *, tell: Callable[[str], object]) -> None:
        self._path = path
        self._tell = tell
        self._found = read_sizes(path)
        self._asked = {step.stage.name: step.resources.batch_size for step in plan.steps}

    @property
    def found(self) -> Mapping[str, int]:
        return self._found

    def update(self, told: Mapping[str, int]) -> None:
        """`told` is the smallest size of each stage of which a worker has told so far."""
        smaller = {
            stage: size
            for stage, size in told.items()
            if stage not in self._found or size < self._found[stage]
        }
        if not smaller:
            return
        self._found.update(smaller)
        atomic_write_bytes(self._path, json.dumps(self._found).encode())
        for stage, size in smaller.items():
            self._tell(_change(stage, asked=self._asked[stage], size=size))


def batch_size_records(plan: Plan, tallies: Mapping[str, StageTally]) -> Iterator[StageBatchSizes]:
    """For the manifest: stages some of whose scenes had batches that the recipe does not tell."""
    for step in plan.steps:
        tally = tallies.get(step.stage.name)
        if tally is None or not tally.batch_sizes:
            continue
        scenes = dict(tally.batch_sizes)
        asked = step.resources.batch_size
        if asked != AUTO and tally.seen > sum(scenes.values()):
            scenes[asked] = tally.seen - sum(scenes.values())
        yield StageBatchSizes(
            stage=step.stage.name,
            asked=asked,
            used=[
                BatchShare(batch_size=size, scenes=scenes[size])
                for size in sorted(scenes, reverse=True)
            ],
        )


def batch_sizes_to_text(record: StageBatchSizes) -> str:
    """``draw: batches of 4 for 48 scenes, of 2 for 16 (resources.batch_size: 4)``."""
    parts = [f"of {one.batch_size} for {one.scenes} scenes" for one in record.used]
    return f"{record.stage}: batches {', '.join(parts)} (resources.batch_size: {record.asked})"


def _change(stage: str, *, asked: int | str, size: int) -> str:
    if asked == AUTO:
        return f"{stage}: batches of {size} fit into the GPU's memory (batch_size: auto)"
    return (
        f"{stage}: out of GPU memory in batches of {asked}; goes on in batches of {size}, as the "
        "manifest will say"
    )

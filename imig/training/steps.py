"""What a step consists of, and which process computes which part of it.

A run's steps have one shape from its beginning to its end: batches in `accumulate` rows of
`processes`. As many processes as a row is long compute one batch each at a time, which is how a run
begins. Another number of processes shares the same batches out otherwise, and cuts them into equal
parts where that is needed; so samples, noise and times, which belong to a batch and to a place in
it, are the same whoever computes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from imig.errors import UsageError
from imig.training.recipe import TrainRecipe


class StepShape(BaseModel):
    """The batches of every step of a run; checkpoints hold it."""

    model_config = ConfigDict(frozen=True)

    processes: int = Field(gt=0)
    """Batches of a row: those that `imig.training.order` makes about equally long."""
    accumulate: int = Field(gt=0)
    """Rows."""
    batch_size: int = Field(gt=0)
    """Samples of a batch; a target size of which there are fewer scenes has smaller ones."""

    @property
    def batches(self) -> int:
        return self.processes * self.accumulate

    @property
    def samples(self) -> int:
        return self.batches * self.batch_size

    def __str__(self) -> str:
        """In the words of a recipe."""
        return (
            f"{self.samples} samples ({self.batch_size} x {self.accumulate} x "
            f"{processes_to_text(self.processes)})"
        )


class Turn(NamedTuple):
    """What one process computes at a time."""

    row: int
    column: int
    """Row and column of a batch in its step."""
    part: int
    """Of the batch, where batches are cut; else 0."""


@dataclass(frozen=True)
class StepDivision:
    """How some processes share the batches of a step."""

    shape: StepShape
    processes: int
    parts: int = 1
    """Into which each batch is cut."""

    @property
    def turns(self) -> int:
        """Batches, or parts of batches, that a process computes in a step."""
        return self.shape.batches * self.parts // self.processes

    def turn(self, number: int, *, rank: int) -> Turn:
        """What a process computes at its turn `number` of a step; all have theirs at one time."""
        batch, part = divmod(number * self.processes + rank, self.parts)
        row, column = divmod(batch, self.shape.processes)
        return Turn(row, column, part)

    def places(self, turn: Turn, *, size: int) -> range:
        """The samples of its batch of `size` samples that a turn is about.

        Parts differ by a sample where a batch cannot be cut evenly; some may have none then.
        """
        return range(size * turn.part // self.parts, size * (turn.part + 1) // self.parts)


def new_shape(recipe: TrainRecipe, *, processes: int) -> StepShape:
    """Of a run that begins.

    With `samples_per_step` it does not depend on the number of processes.

    Raises
    ------
    UsageError
        `samples_per_step` is not a multiple of `batch_size`.
    """
    if recipe.samples_per_step is None:
        return StepShape(
            processes=processes, accumulate=recipe.accumulate, batch_size=recipe.batch_size
        )
    batches, left = divmod(recipe.samples_per_step, recipe.batch_size)
    if left:
        sizes = ", ".join(map(str, _divisors(recipe.samples_per_step, recipe.batch_size)))
        raise UsageError(
            f"samples_per_step={recipe.samples_per_step} is not a multiple of "
            f"batch_size={recipe.batch_size}",
            cure=f"--set batch_size=N with N one of {sizes}: the batches become no larger, and the "
            "step stays what it is",
        )
    return StepShape(processes=batches, accumulate=1, batch_size=recipe.batch_size)


def require_same_step(shape: StepShape, recipe: TrainRecipe, *, processes: int, run: str) -> None:
    """Refuse to go on with steps of another size.

    A recipe that is as it was, on another number of processes, means the steps of before. So does
    one whose own `batch_size x accumulate x processes`, or `samples_per_step`, is as much.

    Raises
    ------
    UsageError
        It means another number of samples: says both.
    """
    here = (recipe.batch_size, recipe.accumulate)
    asked = recipe.samples_per_step
    if asked is None and here == (shape.batch_size, shape.accumulate):
        return
    samples = asked or here[0] * here[1] * processes
    if samples == shape.samples:
        return
    different = [
        name
        for name, there, now in (
            ("batch_size", shape.batch_size, here[0]),
            ("accumulate", shape.accumulate, here[1]),
            ("samples_per_step", shape.samples, asked or shape.samples),
        )
        if there != now
    ]
    raise UsageError(
        f"the training in {run} was begun with another recipe; different: {', '.join(different)}: "
        f"its steps have {shape}, and here they would have {samples}",
        cure=f"leave these keys as they were, on any number of processes, or say --set "
        f"samples_per_step={shape.samples} --set accumulate=1 with the batch_size that fits into "
        "memory; another step is another training: begin it with another --output "
        "(adapter.start may be this one's adapter)",
    )


def divide(shape: StepShape, *, processes: int, batch_size: int) -> StepDivision:
    """Share the steps of a run out among processes, in parts of at most `batch_size` samples.

    Raises
    ------
    UsageError
        They cannot all have as much: says which numbers of processes can.
    """
    for parts in _divisors(shape.batch_size):
        fits = shape.batch_size // parts <= max(batch_size, 1)
        if fits and shape.batches * parts % processes == 0:
            return StepDivision(shape, processes, parts)
    counts = ", ".join(map(str, _divisors(shape.samples)))
    raise UsageError(
        f"{processes_to_text(processes)} cannot share a step of {shape.samples} samples equally: "
        "each must have as many as the others",
        cure=f"start it with one of {counts}",
    )


def processes_to_text(count: int) -> str:
    """``1 process``, ``4 processes``."""
    return f"{count} process" if count == 1 else f"{count} processes"


def _divisors(number: int, limit: int | None = None) -> list[int]:
    """Ascending, up to `limit`."""
    return [one for one in range(1, (limit or number) + 1) if number % one == 0]

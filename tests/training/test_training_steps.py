"""Any number of processes trains the same steps: the same samples in the same places of a batch."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from support.tiny_dataset import write_tiny_dataset
from support.training_runs import SmallRun, small_recipe

from imig.errors import DataError, UsageError
from imig.training.checkpoint import SHAPE, saved_shape
from imig.training.data import TrainingData
from imig.training.recipe import DataConfig, TrainRecipe
from imig.training.steps import StepDivision, StepShape, divide, new_shape, require_same_step

CONFIG = DataConfig(target_width=64, reference_side=32, validation_fraction=0.0)


def shape(processes: int, accumulate: int, batch_size: int) -> StepShape:
    return StepShape(processes=processes, accumulate=accumulate, batch_size=batch_size)


def recipe(**keys: int) -> TrainRecipe:
    return TrainRecipe.model_validate({"name": "small", **keys})


SHARED = [
    pytest.param(shape(1, 4, 3), 1, id="as-begun"),
    pytest.param(shape(1, 4, 3), 4, id="a-batch-each"),
    pytest.param(shape(4, 1, 3), 2, id="two-batches-each"),
    pytest.param(shape(4, 1, 4), 8, id="halves-of-batches"),
    pytest.param(shape(2, 2, 6), 3, id="batches-cut-to-come-out-even"),
    pytest.param(shape(1, 1, 4), 4, id="a-sample-each"),
]


@pytest.mark.parametrize(("begun", "processes"), SHARED)
@pytest.mark.parametrize("short", [0, 1], ids=["whole-batches", "a-smaller-batch"])
def test_every_place_of_a_step_is_computed_by_one_process(
    begun: StepShape, processes: int, short: int
) -> None:
    division = divide(begun, processes=processes, batch_size=begun.batch_size)
    size = max(begun.batch_size - short, 1)  # a target size with few scenes has smaller batches
    computed = Counter(
        (turn.row, turn.column, place)
        for rank in range(processes)
        for number in range(division.turns)
        for turn in [division.turn(number, rank=rank)]
        for place in division.places(turn, size=size)
    )
    assert computed == Counter(
        (row, column, place)
        for row in range(begun.accumulate)
        for column in range(begun.processes)
        for place in range(size)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("steps") / "shards", 24)


@pytest.mark.parametrize(("begun", "processes"), SHARED)
def test_a_step_has_the_same_samples_and_noise_whoever_computes_it(
    folder: Path, begun: StepShape, processes: int
) -> None:
    def step(count: int) -> dict[tuple[int, int, int], object]:
        """What is in each place of the third step: the place decides about the noise."""
        found: dict[tuple[int, int, int], object] = {}
        division = divide(begun, processes=count, batch_size=begun.batch_size)
        for rank in range(count):
            data = TrainingData(
                [folder], config=CONFIG, seed=3, batch_size=9, rank=rank, division=division
            )
            for number in range(2 * division.turns, 3 * division.turns):
                batch = data.micro_batch(number)
                assert [one.id for one in batch.samples] == [
                    data.order.entries[one.entry].id for one in data.plan(number)
                ]
                for place, planned in zip(batch.places, data.plan(number), strict=True):
                    found[batch.turn.row, batch.turn.column, place] = planned
        return found

    assert step(processes) == step(begun.processes)
    assert len(step(1)) == begun.samples


def test_a_run_that_begins_has_the_steps_that_it_always_had() -> None:
    assert new_shape(recipe(batch_size=2, accumulate=3), processes=4) == shape(4, 3, 2)
    division = divide(shape(4, 3, 2), processes=4, batch_size=2)
    assert (division.turns, division.parts) == (3, 1)
    turns = [[division.turn(n, rank=rank) for n in range(3)] for rank in range(4)]
    assert turns == [[(row, rank, 0) for row in range(3)] for rank in range(4)]


def test_samples_per_step_say_the_step_and_not_the_number_of_processes() -> None:
    shapes = {new_shape(recipe(batch_size=4, samples_per_step=16), processes=n) for n in (1, 2, 8)}
    assert shapes == {shape(4, 1, 4)}
    with pytest.raises(UsageError, match="not a multiple") as raised:
        new_shape(recipe(batch_size=6, samples_per_step=16), processes=1)
    assert "one of 1, 2, 4" in raised.value.cure
    with pytest.raises(ValueError, match="accumulate follows from it"):
        recipe(accumulate=2, samples_per_step=16)


def test_a_smaller_batch_size_cuts_batches() -> None:
    division = divide(shape(1, 1, 8), processes=2, batch_size=2)
    assert division == StepDivision(shape(1, 1, 8), 2, parts=4)
    assert division.turns == 2


def test_what_cannot_be_shared_equally_is_refused_with_what_can() -> None:
    with pytest.raises(UsageError, match="3 processes cannot share a step of 16 samples") as raised:
        divide(shape(1, 4, 4), processes=3, batch_size=4)
    assert "one of 1, 2, 4, 8, 16" in raised.value.cure


@pytest.mark.parametrize(
    ("keys", "processes"),
    [
        pytest.param({"batch_size": 4, "accumulate": 2}, 3, id="as-it-was"),
        pytest.param({"batch_size": 2, "accumulate": 1}, 8, id="as-many-samples"),
        pytest.param({"batch_size": 2, "samples_per_step": 16}, 1, id="says-how-many"),
    ],
)
def test_a_recipe_that_means_the_same_step_goes_on(keys: dict[str, int], processes: int) -> None:
    require_same_step(shape(2, 2, 4), recipe(**keys), processes=processes, run="runs/x")


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        pytest.param({"batch_size": 3, "accumulate": 2}, "batch_size", id="batch_size"),
        pytest.param({"batch_size": 4, "accumulate": 3}, "accumulate", id="accumulate"),
        pytest.param(
            {"batch_size": 4, "samples_per_step": 32}, "samples_per_step", id="samples_per_step"
        ),
    ],
)
def test_another_step_is_refused_with_both_sizes(keys: dict[str, int], named: str) -> None:
    with pytest.raises(UsageError, match=r"steps have 16 samples \(4 x 2 x 2 proc") as raised:
        require_same_step(shape(2, 2, 4), recipe(**keys), processes=2, run="runs/x")
    assert named in raised.value.message
    assert "samples_per_step=16" in raised.value.cure


def test_a_checkpoint_says_its_steps_also_one_of_an_older_imig(tmp_path: Path) -> None:
    checkpoint = SmallRun(small_recipe()).save(tmp_path)
    assert saved_shape(checkpoint) == shape(1, 1, small_recipe().batch_size)
    progress = json.loads((checkpoint / "progress.json").read_text())
    progress["data"][SHAPE] = shape(3, 2, 5).model_dump(mode="json")
    (checkpoint / "progress.json").write_text(json.dumps(progress))
    assert saved_shape(checkpoint) == shape(3, 2, 5)
    (checkpoint / "progress.json").write_text("{")
    with pytest.raises(DataError, match=r"progress\.json has 1 bytes and should have"):
        saved_shape(checkpoint)

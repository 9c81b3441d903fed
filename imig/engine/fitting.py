"""Batches that fit into a GPU's memory: where it is exhausted, a worker goes on with half as many.

A block goes through a stage at one batch size from its first scene to its last. When torch says
that there is no memory left, the whole block goes through that stage again in batches of half the
size, so that a rerun that begins with that size has the same batches. The worker keeps the smaller
size, the records say which scenes had which, and a run that goes on begins with the smallest one
that was needed (`imig.engine.sizes`).

A scene for which there is no memory even alone, twice, is at fault itself and goes into quarantine;
the others go through as if it were not there, in batches as large as before. Where nothing at all
has fitted yet, the model is too large for the card, and the build ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Final, Literal

from imig.engine.blocks import Block, Care, run_stage
from imig.errors import DataError
from imig.models.memory import is_out_of_memory, out_of_memory_to_text, release_gpu_memory
from imig.output.tally import StageTally
from imig.sample import Sample
from imig.schema import Quarantine
from imig.stages.base import Stage

ENOUGH_ALONE: Final = 3
"""So many scenes, each alone, for which there was no memory, and none for which there was: the
model is at fault, not they."""
PATIENCE_SECONDS: Final = 5.0
"""Before a scene is tried alone for the second time: others on the card may have let go by then."""
ROUNDS: Final = 8
"""Searches for scenes at fault in a block, at most, where each alone fits and the block does not,
which only a neighbour on the card explains."""

SMALLER_CARD: Final = (
    "make smaller pictures, set the model's `offload: model` (generators), or run fewer workers on "
    "a GPU (`resources.gpus: 1`); `imig build RECIPE --plan` says what each worker takes"
)


@dataclass
class FittingSize:
    """The batch size of a stage in a worker."""

    asked: int | Literal["auto"]
    """By the recipe."""
    now: int
    """Scenes at once, and pictures that its models see at once, at most."""
    fitted: bool = False
    """Whether any scene has ever gone through."""
    alone: int = 0
    """Scenes for which there was no memory even alone."""

    @property
    def is_noted(self) -> bool:
        """Whether the records say it: it cannot be read in the recipe."""
        return self.asked != self.now


@dataclass
class _Attempt:
    """A block on its way through a stage, which can be begun again."""

    block: Block
    stage: Stage
    care: Care
    is_begun: bool = False
    untouched: list[Callable[[], Sample]] = field(init=False)
    rejects: int = field(init=False)
    quarantined: int = field(init=False)
    empty: int = field(init=False)

    def __post_init__(self) -> None:
        self.untouched = [sample.snapshot() for sample in self.block.samples]
        self.rejects = len(self.block.rejects)
        self.quarantined = len(self.block.quarantined)
        self.empty = len(self.block.empty)

    def begin(self, *, without: Container[int]) -> None:
        if not self.is_begun:
            self.is_begun = True
            return
        del self.block.rejects[self.rejects :]
        del self.block.quarantined[self.quarantined :]
        del self.block.empty[self.empty :]
        self.block.samples = [
            restore() for place, restore in enumerate(self.untouched) if place not in without
        ]


def run_fitting(block: Block, stage: Stage, size: FittingSize, *, care: Care | None = None) -> None:
    """As `run_stage`, in batches that fit; `size` says with which, and what has become of it.

    Raises
    ------
    DataError
        No scene fits, not even alone.
    """
    care = care or Care()
    if not _may_run_out(stage):
        run_stage(block, stage, batch_size=size.now, care=care)
        return
    started, begun_with = time.perf_counter(), size.now
    attempt = _Attempt(block, stage, care)
    guilty: dict[int, str] = {}
    for _ in range(ROUNDS):
        if _descend(attempt, size, without=guilty):
            break
        guilty |= _find_guilty(attempt, size, without=guilty)
        _use(stage, size, begun_with)
    else:
        raise _too_small(stage, "its scenes fit one by one, and yet not one after the other")
    tally = block.tallies[stage.name]
    _set_aside(block, attempt, guilty, tally)
    tally.seconds = time.perf_counter() - started
    if size.is_noted and tally.seen:
        tally.batch_sizes = {size.now: tally.seen}


def _may_run_out(stage: Stage) -> bool:
    """Stages of imig without a model here use no GPU; what others do in theirs is not known."""
    return bool(stage.loaded) or stage.key.startswith("extra.")


def _descend(attempt: _Attempt, size: FittingSize, *, without: dict[int, str]) -> bool:
    """Send the block through, in ever smaller batches; False: not even one scene at a time."""
    while True:
        attempt.begin(without=without)
        if _fits(attempt, size):
            size.fitted = size.fitted or bool(attempt.block.tallies[attempt.stage.name].seen)
            return True
        release_gpu_memory()
        if size.now == 1:
            return False
        _use(attempt.stage, size, size.now // 2)


def _fits(attempt: _Attempt, size: FittingSize) -> bool:
    try:
        run_stage(attempt.block, attempt.stage, batch_size=size.now, care=attempt.care)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def _find_guilty(
    attempt: _Attempt, size: FittingSize, *, without: dict[int, str]
) -> dict[int, str]:
    """Places of the scenes for which there is no memory though they are alone, and what torch says.

    Raises DataError when that is so of every scene that this worker has ever seen.
    """
    found = {}
    for place, restore in enumerate(attempt.untouched):
        if place in without or restore().scene.id in attempt.care.guilty:
            continue
        problem = _alone(attempt, restore)
        if problem is not None:
            found[place] = problem
            size.alone += 1
        else:
            size.fitted = True
    if not size.fitted and size.alone >= ENOUGH_ALONE:
        raise _too_small(attempt.stage, next(iter(found.values())))
    return found


def _alone(tried: _Attempt, restore: Callable[[], Sample]) -> str | None:
    """What torch says of a scene that is tried twice, alone; None: there is memory for it."""
    problem = None
    for attempt in range(2):
        if attempt:
            time.sleep(PATIENCE_SECONDS)
        try:
            sample = restore()
            with tried.care.watch(tried.stage, [sample]):
                tried.stage([sample])
        except Exception as error:
            if not is_out_of_memory(error):
                return None  # at fault in another way, as the block's next attempt will find
            problem = out_of_memory_to_text(error)
        else:
            return None
        release_gpu_memory()
    return problem


def _set_aside(block: Block, attempt: _Attempt, guilty: dict[int, str], tally: StageTally) -> None:
    for place, problem in sorted(guilty.items()):
        scene = attempt.untouched[place]().scene
        block.quarantined.append(
            Quarantine(
                id=scene.id,
                stage=attempt.stage.name,
                error="OutOfMemoryError: the GPU's memory is too small for this scene, though it "
                f"was alone: {problem}",
                traceback="",
                path=scene.source.path,
            )
        )
    tally.seen += len(guilty)
    tally.quarantined += len(guilty)


def _use(stage: Stage, size: FittingSize, batch_size: int) -> None:
    size.now = batch_size
    stage.use_batch_size(batch_size)


def _too_small(stage: Stage, problem: str) -> DataError:
    return DataError(
        f"stage {stage.name}: the GPU's memory is too small for its model and a single scene: "
        f"{problem}",
        cure=f"{SMALLER_CARD}; finished work is kept",
    )

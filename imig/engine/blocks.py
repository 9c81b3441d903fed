"""A block: consecutive scenes that travel through the stages together.

Blocks are cut from the scenes' numbers alone. Every run, also one that continues after a kill,
therefore shows a model the same batches, and floating point gives the same figures: equal bytes.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from imig.engine.patience import Patience, error_to_text, is_system_fault
from imig.errors import SourceLostError, UsageError
from imig.models.memory import is_out_of_memory
from imig.output.tally import StageTally
from imig.sample import Sample
from imig.schema import Quarantine, Reject
from imig.shards.funnel import Oddity
from imig.stages.base import Stage


@dataclass
class Block:
    """Scenes `start` to `stop` (exclusive) of the input, on their way through the stages."""

    number: int
    start: int
    stop: int
    samples: list[Sample] = field(default_factory=list)
    """Those that are still in; the others are in `rejects` or `quarantined`."""
    rejects: list[Reject] = field(default_factory=list)
    quarantined: list[Quarantine] = field(default_factory=list)
    tallies: dict[str, StageTally] = field(default_factory=dict)
    """By stage name, in the order of the stages."""
    empty: list[str] = field(default_factory=list)
    """Scenes that kill their worker: they have left, and their places in the batches stay empty."""


Watch = Callable[[Stage, Sequence[Sample]], AbstractContextManager[object]]
"""Looks on while a stage works on a batch."""


@dataclass(frozen=True)
class Care:
    """What a worker minds while stages work."""

    guilty: Mapping[str, Quarantine] = field(default_factory=dict)
    """By id, scenes that are known to kill their worker: they leave before the stage that does."""
    watch: Watch = lambda stage, batch: nullcontext()
    patience: Patience = field(default_factory=lambda: Patience(0.0, tell=lambda line: None))
    """With faults of the system."""


class FreshWorkerNeeded(Exception):
    """A sample alone has found too little memory, for which others in this process may have taken.

    Whether it is the sample is found out in a worker that has seen no other.
    """


class AbsurdOutput(ValueError):
    """A stage has made of a sample what cannot be: NaN, a box outside the picture."""


def run_stage(block: Block, stage: Stage, *, batch_size: int, care: Care | None = None) -> None:
    """Send a block's samples through a stage; those it turns down or fails on leave the block.

    When a batch raises, its samples are tried again one by one, so that only those that raise by
    themselves are quarantined. Batches are cut as if scenes that kill their worker were there:
    those which they do not share are the same as without any trouble.

    Raises
    ------
    UsageError, SourceLostError
        Raised by the stage: the call, or what the build reads, is at fault, and no sample.
    FreshWorkerNeeded
        There is too little memory for a single sample. The block is left half done.
    torch.OutOfMemoryError
        The block is left half done: `imig.engine.fitting` begins it again in smaller batches.
    RuntimeError
        The stage returned other samples than it was given.
    """
    care = care or Care()
    started = time.perf_counter()
    tally = StageTally(seen=len(block.samples))
    _leave_out_guilty(block, stage, care.guilty)
    survivors: list[Sample] = []
    for batch in _batches(block, batch_size):
        for sample in _run_batch(block, stage, batch, care):
            _count_oddities(sample, tally)
            if sample.reject is None:
                survivors.append(sample)
            else:
                block.rejects.append(sample.reject)
                tally.rejected += 1
    tally.quarantined = tally.seen - tally.rejected - len(survivors)
    tally.seconds = time.perf_counter() - started
    block.samples = survivors
    block.tallies[stage.name] = tally


def _count_oddities(sample: Sample, tally: StageTally) -> None:
    for kind, details in sample.oddities:
        oddity = Oddity(
            count=1, first=[f"{sample.scene.id}: {details}" if details else sample.scene.id]
        )
        tally.oddities.setdefault(kind, Oddity()).add(oddity)
    sample.oddities = []


def _leave_out_guilty(block: Block, stage: Stage, guilty: Mapping[str, Quarantine]) -> None:
    for sample in block.samples:
        record = guilty.get(sample.scene.id)
        if record is not None and record.stage == stage.name:
            block.quarantined.append(record)
            block.empty.append(sample.scene.id)
    block.samples = [one for one in block.samples if one.scene.id not in block.empty]


def _batches(block: Block, batch_size: int) -> Iterator[list[Sample]]:
    """The samples that are still in, in batches; of those that have left, empty places stay."""
    if not block.empty:  # in the order in which they stand
        for begin in range(0, len(block.samples), batch_size):
            yield block.samples[begin : begin + batch_size]
        return
    samples = {sample.scene.id: sample for sample in block.samples}
    # Ids end in the scene's number, and samples stay in the order of these.
    places = sorted([*samples, *block.empty], key=lambda one: (len(one), one))
    for begin in range(0, len(places), batch_size):
        batch = [samples[one] for one in places[begin : begin + batch_size] if one in samples]
        if batch:
            yield batch


def _run_batch(block: Block, stage: Stage, batch: list[Sample], care: Care) -> list[Sample]:
    # Stages change samples in place: a second try must start from what the first one was given.
    untouched = [sample.snapshot() for sample in batch]
    try:
        done: list[Sample | None] = [*_watched_call(stage, batch, care)]
    except (UsageError, SourceLostError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        done = [None] * len(batch)
    for i, sample in enumerate(done):
        if sample is None or (sample.reject is None and stage.absurdity(sample) is not None):
            done[i] = _run_alone(block, stage, untouched[i], care)
    return [sample for sample in done if sample is not None]


def _run_alone(
    block: Block, stage: Stage, restore: Callable[[], Sample], care: Care
) -> Sample | None:
    """A sample of a batch that has failed, on its own; None: it is in quarantine."""

    def run() -> Sample:
        (sample,) = _watched_call(stage, [restore()], care)
        if sample.reject is None and (absurd := stage.absurdity(sample)) is not None:
            raise AbsurdOutput(absurd)
        return sample

    try:
        return care.patience.run(run, what=f"stage {stage.name}, scene {restore().scene.id}")
    except SourceLostError:
        raise
    except MemoryError as error:
        raise FreshWorkerNeeded(f"stage {stage.name}: {error_to_text(error)}") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise
        scene = restore().scene
        block.quarantined.append(
            Quarantine(
                id=scene.id,
                stage=stage.name,
                error=f"{type(error).__name__}: {error}",
                traceback=traceback.format_exc(),
                path=scene.source.path,
                fault="system" if is_system_fault(error) else "data",
            )
        )
        return None


def _watched_call(stage: Stage, batch: list[Sample], care: Care) -> list[Sample]:
    try:
        with care.watch(stage, batch):
            return _call(stage, batch)
    except (SystemExit, GeneratorExit) as error:
        # A library that would end the process: one bad scene is no reason to.
        raise RuntimeError(f"stage {stage.name} raised {type(error).__name__}: {error}") from error


def _call(stage: Stage, batch: list[Sample]) -> list[Sample]:
    ids = [sample.scene.id for sample in batch]
    result = stage(batch)
    if [sample.scene.id for sample in result] != ids:
        raise RuntimeError(f"stage {stage.name} returned other samples than it was given")
    return result

"""A block: consecutive scenes that travel through the stages together.

Blocks are cut from the scenes' numbers alone. Every run, also one that continues after a kill,
therefore shows a model the same batches, and floating point gives the same figures: equal bytes.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field

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


def run_stage(block: Block, stage: Stage, *, batch_size: int) -> None:
    """Send a block's samples through a stage; those it turns down or fails on leave the block.

    When a batch raises, its samples are tried again one by one, so that only those that raise by
    themselves are quarantined.

    Raises
    ------
    UsageError, SourceLostError
        Raised by the stage: the call, or what the build reads, is at fault, and no sample.
    torch.OutOfMemoryError
        The block is left half done: `imig.engine.fitting` begins it again in smaller batches.
    RuntimeError
        The stage returned other samples than it was given.
    """
    started = time.perf_counter()
    tally = StageTally(seen=len(block.samples))
    survivors: list[Sample] = []
    for begin in range(0, len(block.samples), batch_size):
        for sample in _run_batch(block, stage, block.samples[begin : begin + batch_size]):
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


def _run_batch(block: Block, stage: Stage, batch: list[Sample]) -> list[Sample]:
    # Stages change samples in place: a second try must start from what the first one was given.
    untouched = [sample.snapshot() for sample in batch]
    try:
        return _call(stage, batch)
    except (UsageError, SourceLostError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return list(_one_by_one(block, stage, [restore() for restore in untouched]))


def _one_by_one(block: Block, stage: Stage, batch: list[Sample]) -> Iterator[Sample]:
    for sample in batch:
        sample_id, path = sample.scene.id, sample.scene.source.path
        try:
            yield from _call(stage, [sample])
        except SourceLostError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            block.quarantined.append(
                Quarantine(
                    id=sample_id,
                    stage=stage.name,
                    error=f"{type(error).__name__}: {error}",
                    traceback=traceback.format_exc(),
                    path=path,
                )
            )


def _call(stage: Stage, batch: list[Sample]) -> list[Sample]:
    ids = [sample.scene.id for sample in batch]
    result = stage(batch)
    if [sample.scene.id for sample in result] != ids:
        raise RuntimeError(f"stage {stage.name} returned other samples than it was given")
    return result

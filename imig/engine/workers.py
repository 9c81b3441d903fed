"""What runs in the worker processes, which are Ray actors."""

from __future__ import annotations

import pickle
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imig.engine.blocks import Block, run_stage
from imig.engine.parts import write_part
from imig.engine.plan import Step
from imig.engine.plan_source import SceneSource
from imig.errors import DataError, ImigError
from imig.stages.loading import shared_models
from imig.startup import objects_that_stay
from imig.threads import limit_threads, wait_passively

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ATTEMPTS = 2
"""A block whose worker process died this often ends the build."""


@dataclass(frozen=True)
class FinishedBlock:
    """A part has been written."""

    block: int
    input: int
    written: int
    errors: list[str]
    """Of its quarantined scenes."""


class StageWorker:
    """Sends blocks through consecutive stages; loads their models when it starts.

    Parameters
    ----------
    steps:
        The stages.
    tally:
        Handle of the build's `Tally` actor.
    blocks:
        First scene of each block and the one after its last: for the first worker of a build,
        which gets bare numbers and makes the blocks. Null for the others.
    parts:
        Folder of the parts: for the last worker, which writes them and answers with
        `FinishedBlock`s. Null for the others.
    threads:
        CPU threads for the models.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        tally: Any,
        blocks: dict[int, tuple[int, int]] | None,
        parts: Path | None,
        threads: int,
    ) -> None:
        self._steps = steps
        self._tally = tally
        self._blocks = blocks
        self._parts = parts
        self._group = "+".join(step.stage.name for step in steps)
        self._broken = False
        current = self._group
        try:
            wait_passively()
            warnings.filterwarnings("ignore")
            limit_threads(threads)
            with objects_that_stay(), shared_models():
                for step in steps:
                    current = step.stage.name
                    step.stage.setup()
            limit_threads(threads)
        except Exception as error:
            # Not raised here: Ray would print it at length, and start the worker again and again.
            _fail(tally, error, f"stage {current} could not start")
            self._broken = True
            return
        tally.ready.remote([step.stage.name for step in steps])

    def __call__(self, batch: pa.Table) -> pa.Table:
        import ray

        if self._broken:
            raise RuntimeError(f"stage {self._group} could not start")
        block = self._receive(batch)
        attempt = ray.get(self._tally.begin.remote(self._group, block.number))
        try:
            if attempt > MAX_ATTEMPTS:
                raise self._died(block)
            for step in self._steps:
                run_stage(block, step.stage, batch_size=step.resources.batch_size)
            if self._parts is not None:
                self._write(block, self._parts)
        except Exception as error:
            _fail(self._tally, error, f"stage {self._group}")
            raise
        done = {step.stage.name: block.tallies[step.stage.name] for step in self._steps}
        self._tally.end.remote(
            done,
            self._group,
            block.number,
            written=self._parts is not None,
            rejects=Counter((one.stage, one.reason) for one in block.rejects if one.stage in done),
            errors=Counter(
                (one.stage, one.error.partition(":")[0])
                for one in block.quarantined
                if one.stage in done
            ),
        )
        return pickle_to_table(block if self._parts is None else finished_block(block))

    def _receive(self, batch: pa.Table) -> Block:
        if self._blocks is None:
            received = pickle.loads(batch.column(0)[0].as_py())
            assert isinstance(received, Block)
            return received
        number = int(batch.column(0)[0].as_py())
        start, stop = self._blocks[number]
        source: SceneSource = self._steps[0].stage  # type: ignore[assignment]
        return Block(number, start, stop, samples=source.enumerate(start, stop))

    def _write(self, block: Block, parts: Path) -> None:
        import ray

        # Ray ends an execution without waiting for its workers: whoever stopped the build may be at
        # the next one already, in the same folder.
        if not ray.get(self._tally.may_write.remote(block.number)):
            raise RuntimeError("the build has been stopped")
        try:
            write_part(parts, block)
        except BaseException:
            self._tally.not_written.remote(block.number)
            raise

    def _died(self, block: Block) -> DataError:
        ids = [sample.scene.id for sample in block.samples]
        return DataError(
            f"stage {self._group}: its worker process died {MAX_ATTEMPTS} times on scenes "
            f"{ids[0]} to {ids[-1]}; most often it has run out of memory",
            cure="lower resources.batch_size or resources.concurrency of the stage, or "
            "engine.block_size; finished work is kept",
        )


def pickle_to_table(value: Block | FinishedBlock) -> pa.Table:
    """One row: Ray Data moves tables; `large_binary` has no 2 GiB limit."""
    import pyarrow as pa

    return pa.table({"pickle": pa.array([pickle.dumps(value)], pa.large_binary())})


def finished_block(block: Block) -> FinishedBlock:
    """What the driver gets to know of a block whose part has been written."""
    return FinishedBlock(
        block=block.number,
        input=block.stop - block.start,
        written=len(block.samples),
        errors=[one.error for one in block.quarantined],
    )


def _fail(tally: Any, error: Exception, where: str) -> None:
    """Tell the driver what ends the build; Ray's own report would bury it."""
    import ray

    failure: Exception = error
    if not isinstance(error, ImigError):
        failure = RuntimeError(f"{where}\n{traceback.format_exc()}")
    ray.get(tally.fail.remote(pickle.dumps(failure)))

"""What runs in the worker processes, which are Ray actors."""

from __future__ import annotations

import pickle
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from imig.console.logged import warnings_told_to
from imig.engine.blocks import Block, Care, FreshWorkerNeeded
from imig.engine.fitting import SMALLER_CARD, FittingSize, run_fitting
from imig.engine.fresh import FreshWorker
from imig.engine.isolation import Isolation
from imig.engine.nodes import alive_nodes
from imig.engine.parts import write_part
from imig.engine.patience import Patience
from imig.engine.plan import Step
from imig.engine.plan_source import SceneSource
from imig.engine.tally import Case
from imig.engine.watching import TimeLimits, time_limit
from imig.errors import DataError, ImigError
from imig.models.memory import is_out_of_memory, out_of_memory_to_text, release_gpu_memory
from imig.sample import Sample
from imig.schema import Quarantine
from imig.stages.base import Stage
from imig.stages.loading import shared_models
from imig.startup import objects_that_stay
from imig.stores.path import OutputPath
from imig.threads import limit_threads, wait_passively

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ATTEMPTS: Final = 8
"""A block whose worker process died this often ends the build, though its scenes kill none."""


@dataclass(frozen=True)
class FinishedBlock:
    """A part has been written."""

    block: int
    input: int
    written: int
    errors: list[str]
    """Of its quarantined scenes."""
    system_faults: int = 0
    """How many of these the system is to blame for."""


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
    patience:
        Seconds, with faults of the system.
    sizes:
        Batch sizes to begin with, by stage.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        tally: Any,
        blocks: dict[int, tuple[int, int]] | None,
        parts: OutputPath | None,
        threads: int,
        sizes: Mapping[str, FittingSize],
        patience: float = 0.0,
    ) -> None:
        from ray import cloudpickle

        self._steps = steps
        self._pristine: bytes = cloudpickle.dumps(tuple(steps))  # type: ignore[no-untyped-call]
        self._tally = tally
        self._blocks = blocks
        self._parts = parts
        self._timeouts = {step.stage.name: step.resources.timeout for step in steps}
        self._limits = TimeLimits()
        self._threads = threads
        self._seconds_of_patience = patience
        self._patience = Patience(patience, tell=self._say)
        self._group = "+".join(step.stage.name for step in steps)
        self._ready = False
        self._broken = False
        self._begun_with = {step.stage.name: sizes[step.stage.name] for step in steps}
        self._sizes = {name: replace(size) for name, size in self._begun_with.items()}
        self._told: dict[str, int] = {}
        # One whose predecessor has died will mostly look for the scene that is guilty, which other
        # processes do, and they need the room.
        if not _is_successor():
            self._set_up()

    def _set_up(self) -> None:
        """Load the models; what goes wrong ends the build."""
        current = self._group
        try:
            wait_passively()
            warnings.filterwarnings("ignore")
            limit_threads(self._threads)
            limit = time_limit(max(self._timeouts.values()))
            with warnings_told_to(self._say), limit, objects_that_stay(), shared_models():
                for step in self._steps:
                    current = step.stage.name
                    step.stage.setup()
                    step.stage.use_batch_size(self._sizes[current].now)
            limit_threads(self._threads)
        except Exception as error:
            if is_out_of_memory(error):
                error = _no_memory_for_models(current, error)
            # Not raised here: Ray would print it at length, and start the worker again and again.
            _fail(self._tally, error, f"stage {current} could not start")
            self._broken = True
            return
        self._ready = True
        self._tally.ready.remote([step.stage.name for step in self._steps])

    def _make_room(self) -> None:
        """Let go of the models: processes that look for a guilty scene load them too."""
        self._steps = pickle.loads(self._pristine)
        self._ready = False
        release_gpu_memory()

    def __call__(self, batch: pa.Table) -> pa.Table:
        import ray

        block = self._receive(batch)
        node = ray.get_runtime_context().get_node_id()
        case: Case = ray.get(self._tally.begin.remote(self._group, block.number, node))
        try:
            with warnings_told_to(self._say):
                block = self._run(block, batch, case)
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

    def _run(self, block: Block, batch: pa.Table, case: Case) -> Block:
        guilty = {one.id: one for one in case.guilty}
        deaths = _deaths(case)
        if deaths >= MAX_ATTEMPTS:
            raise self._died(block)
        if deaths or case.trials:
            return self._isolate(block.number, batch, case, guilty)
        if not self._ready and not self._broken:
            self._set_up()
        if self._broken:
            raise RuntimeError(f"stage {self._group} could not start")
        care = Care(guilty=guilty, watch=self._watch, patience=self._patience)
        try:
            for step in self._steps:
                run_fitting(block, step.stage, self._sizes[step.stage.name], care=care)
                self._tell_size(block, step.stage.name)
        except FreshWorkerNeeded:
            return self._isolate(block.number, batch, case, guilty)
        finally:
            self._limits.stop()
        return block

    def _isolate(
        self, number: int, batch: pa.Table, case: Case, guilty: Mapping[str, Quarantine]
    ) -> Block:
        import ray

        self._make_room()
        return Isolation(
            group=self._group,
            stages=[step.stage.name for step in self._steps],
            pristine=lambda: self._receive(batch),
            worker=lambda: FreshWorker(
                self._pristine,
                timeouts=self._timeouts,
                sizes=self._begun_with,
                threads=self._threads,
                patience=self._seconds_of_patience,
                folder=_session_folder(),
                tell=self._say,
            ),
            keep=lambda trials, found: ray.get(
                self._tally.keep.remote(self._group, number, trials, found)
            ),
            tell=self._say,
            trials=list(case.trials),
            guilty=dict(guilty),
            works_elsewhere=lambda: case.works_elsewhere,
        ).run()

    @contextmanager
    def _watch(self, stage: Stage, batch: Sequence[Sample]) -> Iterator[None]:
        self._limits.begin(self._timeouts[stage.name])
        try:
            yield
        except BaseException:
            self._limits.stop()  # the system may be waited for
            raise

    def _say(self, line: str) -> None:
        self._tally.say.remote(line)

    def _receive(self, batch: pa.Table) -> Block:
        if self._blocks is None:
            received = pickle.loads(batch.column(0)[0].as_py())
            assert isinstance(received, Block)
            return received
        number = int(batch.column(0)[0].as_py())
        start, stop = self._blocks[number]
        source: SceneSource = self._steps[0].stage  # type: ignore[assignment]
        return Block(number, start, stop, samples=source.enumerate(start, stop))

    def _tell_size(self, block: Block, stage: str) -> None:
        """Tell which batch size has turned out to fit, where that is news."""
        size = self._sizes[stage].now
        if block.tallies[stage].batch_sizes and self._told.get(stage) != size:
            self._told[stage] = size
            self._tally.fit.remote(stage, size)

    def _write(self, block: Block, parts: OutputPath) -> None:
        import ray

        # Ray ends an execution without waiting for its workers: whoever stopped the build may be at
        # the next one already, in the same folder. Asked before each try.
        def write() -> None:
            if not ray.get(self._tally.may_write.remote(block.number)):
                raise RuntimeError("the build has been stopped")
            try:
                write_part(parts, block)
            except BaseException:
                self._tally.not_written.remote(block.number)
                raise

        self._patience.run(write, what=f"writing block {block.number}")

    def _died(self, block: Block) -> DataError:
        ids = [sample.scene.id for sample in block.samples]
        return DataError(
            f"stage {self._group}: its worker process died {MAX_ATTEMPTS} times over scenes "
            f"{ids[0]} to {ids[-1]}, and is killed from outside; most often memory has run out",
            cure="lower resources.batch_size or resources.concurrency of the stage, or "
            "engine.block_size; finished work is kept",
        )


def _no_memory_for_models(stage: str, error: Exception) -> DataError:
    return DataError(
        f"stage {stage} could not start: the GPU's memory is too small for its models: "
        f"{out_of_memory_to_text(error)}",
        cure=SMALLER_CARD,
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
        system_faults=sum(one.fault == "system" for one in block.quarantined),
    )


def _session_folder() -> Path:
    """Ray's temporary folder on this node, which goes with the session."""
    import ray._private.worker

    node: Any = ray._private.worker._global_node
    return Path(node.get_session_dir_path())


def _deaths(case: Case) -> int:
    """How many workers have died over a block; one that its node took along died of no scene."""
    if not case.died_on:
        return 0
    there = {node.id for node in alive_nodes()}
    return sum(node in there for node in case.died_on)


def _is_successor() -> bool:
    """Whether Ray has started this worker in the place of one that died."""
    import ray

    context = ray.get_runtime_context()
    return context.get_actor_id() is not None and context.was_current_actor_reconstructed


def _fail(tally: Any, error: Exception, where: str) -> None:
    """Tell the driver what ends the build; Ray's own report would bury it."""
    import ray

    failure: Exception = error
    if not isinstance(error, ImigError):
        failure = RuntimeError(f"{where}\n{traceback.format_exc()}")
    ray.get(tally.fail.remote(pickle.dumps(failure)))

"""The streaming execution: blocks through the stages, all stages at once."""

from __future__ import annotations

import pickle
import queue
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ray.data._internal.execution.execution_callback import ExecutionCallback

from imig.engine.deaths import Deaths
from imig.engine.fitting import FittingSize
from imig.engine.groups import Group
from imig.engine.nodes import NodeWatch
from imig.engine.plan import Plan
from imig.engine.ray_life import RayLost, gave_up, require_ray
from imig.engine.tally import Snapshot, Tally
from imig.engine.workers import FinishedBlock, StageWorker
from imig.stores.path import OutputPath

MAX_INPUT_TASKS = 10_000
"""At the source: Ray's bookkeeping of a task takes several milliseconds, and memory."""
MIN_TASKS_A_WORKER = 32
"""Fewer would leave workers idle while the last of them finishes its last task."""
MAX_BLOCKS_A_TASK = 16
"""What a worker that dies begins again."""
GATHERED_BYTES = 2**20
"""A worker's answers of at most so many bytes reach the driver together. What goes on to other
workers is not gathered: of blocks that are small, many workers would get one share for few."""
POLL_SECONDS = 0.5
GIVE_UP_SECONDS = 30.0


class _EndOfStream(Exception):
    """All blocks are through."""


class _Stopped(Exception):
    """Nobody waits for the blocks any more."""


class _Consumer(threading.Thread):
    """Executes the dataset and queues its answers; `stop` ends both soon.

    Ray blocks in C++ while it waits: a thread leaves the main one free for Ctrl-C and display.
    """

    def __init__(self, dataset: Any) -> None:
        super().__init__(name="imig-consumer", daemon=True)
        self.answers: queue.Queue[FinishedBlock | Exception] = queue.Queue()
        self.stopped = threading.Event()
        self._dataset = dataset

    def run(self) -> None:
        try:
            for batch in self._dataset.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                for value in batch.column(0).to_pylist():
                    self.answers.put(pickle.loads(value))
        except Exception as error:
            self.answers.put(error)
        else:
            self.answers.put(_EndOfStream())

    def stop(self) -> None:
        """End the execution and wait for its threads.

        A thread that calls Ray after `ray.shutdown` makes Ray's C++ side end the process on the
        spot, with exit code 1 and without a word.
        """
        self.stopped.set()
        self.join(timeout=GIVE_UP_SECONDS)


class StopOnRequest(ExecutionCallback):
    """Ends an execution when its consumer is told to stop.

    Ray Data makes one for each execution, in the thread that asks for the first batch.
    """

    def __init__(self) -> None:
        thread = threading.current_thread()
        self._stopped = thread.stopped if isinstance(thread, _Consumer) else threading.Event()

    def on_execution_step(self, executor: Any) -> None:
        """Ray Data calls this several times a second, in the thread of the execution."""
        if self._stopped.is_set():
            raise _Stopped


def stream_blocks(
    plan: Plan,
    blocks: Sequence[int],
    *,
    groups: Sequence[Group],
    parts: OutputPath,
    sizes: Mapping[str, FittingSize],
    deaths: Deaths | None = None,
) -> Generator[FinishedBlock | Snapshot | str, None, None]:
    """Run blocks through the plan's stages and write their parts; Ray must be up.

    `groups` says which stages share workers, `sizes` with which batches each stage begins, `deaths`
    what is known of scenes that kill workers.

    Yields each finished block as it comes, a snapshot about twice a second, and a text when a node
    has gone that the build can do without.

    Raises
    ------
    NodesLostError
        One has gone that it cannot do without: what is left must be streamed anew.
    ImigError
        What a stage raised in `setup`; workers that die for no scene's sake; Ray's own death.
    RuntimeError
        A stage is at fault itself; carries the worker's traceback.
    """

    tally = _start_tally(deaths, works=len(blocks) < plan.blocks)
    watch = NodeWatch(groups)
    dataset = _dataset(plan, blocks, groups=groups, tally=tally, parts=parts, sizes=sizes)
    consumer = _Consumer(dataset)
    consumer.start()
    lost = False
    try:
        due = time.monotonic() + POLL_SECONDS
        while True:
            answer: FinishedBlock | Exception | None = None
            with suppress(queue.Empty):
                answer = consumer.answers.get(timeout=POLL_SECONDS)
            if isinstance(answer, FinishedBlock):
                if answer.errors:
                    yield _snapshot(tally)  # a scene that kills is written down before it counts
                yield answer
                if time.monotonic() < due:
                    continue
                answer = None
            due = time.monotonic() + POLL_SECONDS
            # Before anything is asked of Ray: when its head is gone, lost nodes follow from it.
            require_ray()
            snapshot = _snapshot(tally)
            yield snapshot
            _raise_failure(snapshot)
            if isinstance(answer, _EndOfStream):
                return  # before nodes are looked for, which nothing needs any more
            # What a node takes with it can end the execution before Ray counts the node as lost.
            if (said := watch.look(now=answer is not None)) is not None:
                yield said
            if answer is not None:
                raise gave_up(answer) from answer
    except RayLost:
        lost = True
        raise
    finally:
        if lost:
            consumer.stopped.set()  # it waits for what will never come
        else:
            _close(tally)
            consumer.stop()


def _start_tally(deaths: Deaths | None, *, works: bool) -> Any:
    """On the driver's own node: no other that goes away takes the counts with it."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(Tally)
    return actor.options(num_cpus=0, scheduling_strategy=here).remote(deaths, works=works)


def _dataset(
    plan: Plan,
    blocks: Sequence[int],
    *,
    groups: Sequence[Group],
    tally: Any,
    parts: OutputPath,
    sizes: Mapping[str, FittingSize],
) -> Any:
    import ray.data

    steps = {step.stage.name: step for step in plan.steps}
    context = ray.data.DataContext.get_current()
    if StopOnRequest not in context.custom_execution_callback_classes:
        context.custom_execution_callback_classes.append(StopOnRequest)
    context.target_max_block_size = GATHERED_BYTES if len(groups) == 1 else 1
    dataset: Any = ray.data.from_items(
        list(blocks), override_num_blocks=_input_tasks(len(blocks), workers=groups[0].workers)
    )
    ranges = {block: plan.block_range(block) for block in blocks}
    for number, group in enumerate(groups):
        dataset = dataset.map_batches(
            StageWorker,
            fn_constructor_args=(tuple(steps[name] for name in group.stages),),
            fn_constructor_kwargs={
                "tally": tally,
                "blocks": ranges if number == 0 else None,
                "parts": parts if number == len(groups) - 1 else None,
                "threads": max(1, int(group.cpus)),
                "patience": plan.loaded.recipe.engine.patience,
                "sizes": {name: sizes[name] for name in group.stages},
            },
            batch_size=1,
            batch_format="pyarrow",
            # More than there are blocks left would have nothing to do.
            compute=ray.data.ActorPoolStrategy(size=min(group.workers, len(blocks))),
            num_cpus=group.cpus,
            num_gpus=group.gpus or None,
            **({"resources": dict(group.custom)} if group.custom else {}),
        )
    return dataset


def _input_tasks(blocks: int, *, workers: int) -> int:
    """Tasks of the first workers; each has the next few blocks, which go on one by one."""
    wanted = max(-(-blocks // MAX_BLOCKS_A_TASK), MIN_TASKS_A_WORKER * workers)
    return min(blocks, wanted, MAX_INPUT_TASKS)


def _snapshot(tally: Any) -> Snapshot:
    import ray

    asked = tally.snapshot.remote()
    while True:
        try:
            snapshot = ray.get(asked, timeout=POLL_SECONDS)
            break
        except ray.exceptions.GetTimeoutError:
            require_ray()
    assert isinstance(snapshot, Snapshot)
    return snapshot


def _close(tally: Any) -> None:
    """Once this returns no part appears any more, even where Ray and its workers stay up.

    Except one whose writing hangs for longer than `GIVE_UP_SECONDS`: a stop must come to an end.
    """
    import ray

    deadline = time.monotonic() + GIVE_UP_SECONDS
    # An error of Ray means that it is going down, and the workers with it.
    with suppress(ray.exceptions.RayError):
        while ray.get(tally.close.remote(), timeout=GIVE_UP_SECONDS):
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)


def _raise_failure(snapshot: Snapshot) -> None:
    if snapshot.failure is not None:
        raise pickle.loads(snapshot.failure)

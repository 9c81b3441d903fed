"""The streaming execution: blocks through the stages, all stages at once."""

from __future__ import annotations

import pickle
import queue
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from imig.engine.cluster import cpu_count
from imig.engine.plan import Plan, Step
from imig.engine.tally import Snapshot, Tally
from imig.engine.workers import FinishedBlock, StageWorker
from imig.errors import DataError

MAX_INPUT_TASKS = 10_000
"""More blocks than this share tasks at the source: Ray's bookkeeping costs about 1 ms a task."""
POLL_SECONDS = 0.5
GIVE_UP_SECONDS = 10.0


class _EndOfStream(Exception):
    """All blocks are through."""


def stream_blocks(
    plan: Plan, blocks: Sequence[int], *, parts: Path
) -> Generator[FinishedBlock | Snapshot, None, None]:
    """Run blocks through the plan's stages and write their parts; Ray must be up.

    Yields each finished block as it comes, and a snapshot about twice a second.

    Raises
    ------
    ImigError
        What a stage raised in `setup`; or a worker that died again and again.
    RuntimeError
        A stage is at fault itself; carries the worker's traceback.
    """
    import ray

    tally: Any = ray.remote(num_cpus=0)(Tally).remote()
    dataset = _dataset(plan, blocks, tally=tally, parts=parts)
    answers: queue.Queue[FinishedBlock | Exception] = queue.Queue()
    stopped = threading.Event()
    # Ray blocks in C++ while it waits; a thread leaves the main one free for Ctrl-C and display.
    consumer = threading.Thread(target=_consume, args=(dataset, answers, stopped), daemon=True)
    consumer.start()
    try:
        while True:
            answer: FinishedBlock | Exception | None = None
            with suppress(queue.Empty):
                answer = answers.get(timeout=POLL_SECONDS)
            if isinstance(answer, FinishedBlock):
                yield answer
                continue
            snapshot = _snapshot(tally)
            _raise_failure(snapshot)
            if isinstance(answer, _EndOfStream):
                yield snapshot
                return
            if answer is not None:
                raise _explain(answer) from answer
            yield snapshot
    except GeneratorExit:
        # The caller has given up: no part may appear behind its back, where Ray stays up.
        stopped.set()
        consumer.join(timeout=GIVE_UP_SECONDS)
        raise
    finally:
        stopped.set()


def _dataset(plan: Plan, blocks: Sequence[int], *, tally: Any, parts: Path) -> Any:
    import ray.data

    groups = group_steps(plan.steps)
    threads = _threads(groups)
    dataset: Any = ray.data.from_items(
        list(blocks), override_num_blocks=min(len(blocks), MAX_INPUT_TASKS)
    )
    ranges = {block: plan.block_range(block) for block in blocks}
    for number, group in enumerate(groups):
        resources = group[0].resources
        dataset = dataset.map_batches(
            StageWorker,
            fn_constructor_args=(group,),
            fn_constructor_kwargs={
                "tally": tally,
                "blocks": ranges if number == 0 else None,
                "parts": parts if number == len(groups) - 1 else None,
                "threads": max(threads, int(resources.cpus)),
            },
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=resources.concurrency),
            num_cpus=resources.cpus,
            num_gpus=resources.gpus or None,
        )
    return dataset


def group_steps(steps: Sequence[Step]) -> list[tuple[Step, ...]]:
    """Consecutive stages without models share a worker: a process costs seconds to start."""
    groups: list[tuple[Step, ...]] = []
    for step in steps:
        if groups and _is_light(step) and _is_light(groups[-1][-1]):
            same = step.resources.model_copy(update={"batch_size": 0})
            if same == groups[-1][-1].resources.model_copy(update={"batch_size": 0}):
                groups[-1] = (*groups[-1], step)
                continue
        groups.append((step,))
    return groups


def _is_light(step: Step) -> bool:
    return not step.stage.models()


def _threads(groups: Sequence[tuple[Step, ...]]) -> int:
    """CPU threads for each model: all models run at once and share the cores."""
    models = sum(
        group[0].resources.concurrency for group in groups if not all(map(_is_light, group))
    )
    return max(1, cpu_count() // max(1, models))


def _consume(
    dataset: Any,
    answers: queue.Queue[FinishedBlock | Exception],
    stopped: threading.Event,
) -> None:
    try:
        for batch in dataset.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            for value in batch.column(0).to_pylist():
                answers.put(pickle.loads(value))
            if stopped.is_set():
                # Leaving the loop ends the execution.
                return
    except Exception as error:
        answers.put(error)
    else:
        answers.put(_EndOfStream())


def _snapshot(tally: Any) -> Snapshot:
    import ray

    snapshot = ray.get(tally.snapshot.remote())
    assert isinstance(snapshot, Snapshot)
    return snapshot


def _raise_failure(snapshot: Snapshot) -> None:
    if snapshot.failure is not None:
        raise pickle.loads(snapshot.failure)


def _explain(error: Exception) -> DataError:
    """What Ray itself gave up on: nodes lost, workers that die before they can say why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return DataError(
        f"Ray gave up ({type(error).__name__}): {lines[-1] if lines else 'no reason given'}",
        cure="finished work is kept: the same command continues. If it happens again, lower "
        "resources.batch_size or resources.concurrency",
    )

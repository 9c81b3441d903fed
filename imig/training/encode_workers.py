"""Shards through the networks: in this process, or in several at once.

Plain processes rather than Ray: there is one kind of work, a shard at a time, and no data goes from
one worker to another; a pool of the standard library is all of it, and starts at once.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import torch

from imig.contextgen.encoded_scene import scene_to_bytes
from imig.errors import DataError
from imig.models.device import one_thread
from imig.output.record import Record
from imig.output.writing import write_shard
from imig.processes import interrupts_held, leave_with_parent
from imig.sample import Sample
from imig.shards.encoded import ENCODED_MEMBER
from imig.threads import cpu_count, limit_threads
from imig.training.encode_folder import EncodePlan
from imig.training.encode_scene import SceneEncoder, prepare_ahead

POLL_SECONDS = 0.2
Finished = Generator[tuple[str, Record], None, None]
"""Name and record of each shard, as it is finished."""


def default_workers(device: torch.device) -> int:
    """One a GPU, or the one that is named (`cuda:1`).

    On a CPU one for two cores: the others prepare pictures in its threads.
    """
    if device.type == "cuda":
        return torch.cuda.device_count() if device.index is None else 1
    return max(1, cpu_count() // 2)


def encode_shards(
    plan: EncodePlan, shards: Sequence[str], *, workers: int, on_progress: Callable[[int], None]
) -> Finished:
    """Encode shards, and give name and record of each as it is finished.

    Parameters
    ----------
    workers:
        Processes; one, or one shard, is encoded in this process.
    on_progress:
        Called now and then with the number of scenes that are through.

    Raises
    ------
    UsageError
        The pipeline folder is incomplete.
    DataError
        A sample is damaged, or a worker has died. Shards that are finished stay.
    """
    if min(workers, len(shards)) <= 1:
        return _encode_here(plan, shards, on_progress)
    return _encode_in_pool(plan, shards, min(workers, len(shards)), on_progress)


def encode_shard(
    plan: EncodePlan, shard: str, *, encoder: SceneEncoder, on_scene: Callable[[], None]
) -> Record:
    """Write one shard of the output; it appears when it is whole."""

    def samples() -> Iterator[Sample]:
        views = (plan.source[sample_id] for sample_id in plan.shards[shard])
        for prepared in prepare_ahead(views, config=plan.config):
            sample = prepared.view.to_sample()
            sample.files.pop(ENCODED_MEMBER, None)
            encoded = encoder(prepared)
            if encoded is not None:
                sample.files[ENCODED_MEMBER] = scene_to_bytes(encoded, encoding=plan.encoding)
            yield sample
            on_scene()

    return write_shard(plan.output / shard, samples())


def _encode_here(
    plan: EncodePlan, shards: Sequence[str], on_progress: Callable[[int], None]
) -> Finished:
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        on_progress(done)

    with one_thread():  # the pictures of the next scenes are prepared by others meanwhile
        encoder = _load_encoder(plan, torch.device(plan.device))
        for shard in shards:
            yield shard, encode_shard(plan, shard, encoder=encoder, on_scene=count)


def _load_encoder(plan: EncodePlan, device: torch.device) -> SceneEncoder:
    dtype: torch.dtype = getattr(torch, plan.encoding.dtype)
    return SceneEncoder(
        plan.components, dtype=dtype, device=device, text_length=plan.encoding.text_length
    )


def _encode_in_pool(
    plan: EncodePlan, shards: Sequence[str], workers: int, on_progress: Callable[[int], None]
) -> Finished:
    context = multiprocessing.get_context("spawn")  # a fork has no use of CUDA and of threads
    # A number a worker, and no lock: whoever dies holding one stops all others.
    done = context.RawArray(ctypes.c_int64, workers)
    numbers = context.SimpleQueue()
    for number in range(workers):
        numbers.put(number)
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(plan, numbers, done)
    )
    others = set(multiprocessing.active_children())
    try:
        with interrupts_held():
            futures = {pool.submit(_encode_in_worker, shard): shard for shard in shards}
        waiting = set(futures)
        while waiting:
            finished, waiting = wait(waiting, POLL_SECONDS, return_when=FIRST_COMPLETED)
            on_progress(sum(done))
            for future in finished:
                yield futures[future], future.result()
    except BaseException as error:
        # At once, in the middle of shards: what is written aside has no name yet that counts.
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise DataError(
                "a process that encoded a shard died, most likely for lack of memory",
                cure="use fewer: --workers 1; finished shards are kept",
            ) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class _Worker:
    """What a worker process holds."""

    def __init__(self, plan: EncodePlan, number: int, done: Any) -> None:
        self.plan, self._number, self._done = plan, number, done
        self._encoder: SceneEncoder | None = None

    def encode(self, shard: str) -> Record:
        if self._encoder is None:
            # Not when the process starts: errors for people come back with a shard only.
            self._encoder = _load_encoder(self.plan, self._device())
        return encode_shard(self.plan, shard, encoder=self._encoder, on_scene=self._count)

    def _device(self) -> torch.device:
        if self.plan.device != "cuda":  # a CPU, or a GPU by its number
            return torch.device(self.plan.device)
        return torch.device("cuda", self._number % torch.cuda.device_count())

    def _count(self) -> None:
        self._done[self._number] += 1


_worker: _Worker | None = None


def _start_worker(plan: EncodePlan, numbers: Any, done: Any) -> None:
    global _worker
    threading.Thread(target=leave_with_parent, daemon=True).start()
    limit_threads(1)  # as `one_thread`
    _worker = _Worker(plan, numbers.get(), done)


def _encode_in_worker(shard: str) -> Record:
    assert _worker is not None, "the pool has started this process"
    return _worker.encode(shard)

"""The same function over many things, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from imig.errors import DataError
from imig.threads import limit_threads

Item = TypeVar("Item")
Result = TypeVar("Result")

_functions: list[Callable[[Any], Any]] = []
"""In a worker process: the one that it applies."""


def each_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int, what: str
) -> Generator[tuple[Item, Result]]:
    """``(item, function(item))`` for every item, in the order in which they are finished.

    Ctrl-C, an error and a closed generator stop the others at once; worker processes end with the
    one that started them, also when it is killed.

    Parameters
    ----------
    function:
        Pickles, as items and results do; so no lambda. It goes to a process once, whatever it
        carries, and keeps there what it has cached.
    workers:
        Processes at most; with one, or one item, everything happens in this process.
    what:
        What a process does, for the message when it dies: "read scenes".

    Raises
    ------
    DataError
        When a process dies. What `function` raises is raised as it is.
    """
    if min(workers, len(items)) <= 1:
        for item in items:
            yield item, function(item)
        return
    pool = ProcessPoolExecutor(
        min(workers, len(items)),
        mp_context=multiprocessing.get_context("spawn"),  # a fork copies locks of threads as well
        initializer=_begin,
        initargs=(function,),
    )
    others = set(multiprocessing.active_children())
    try:
        with interrupts_held():
            futures = {pool.submit(_apply, item): item for item in items}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise DataError(
                f"a process that {what} died, most likely for lack of memory",
                cure="use fewer: --workers 1; what is finished is kept",
            ) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def interrupts_held() -> AbstractContextManager[None]:
    """Ctrl-C within comes after it; processes that are started within never see one."""
    return signals_held((signal.SIGINT,))


@contextmanager
def signals_held(signals: Iterable[signal.Signals]) -> Iterator[None]:
    """Such signals within come after it; in processes that are started within they stay blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(function: Callable[[Any], Any]) -> None:
    _functions.append(function)
    threading.Thread(target=leave_with_parent, daemon=True).start()
    limit_threads(1)


def _apply(item: Any) -> Any:
    return _functions[0](item)


def leave_with_parent() -> None:
    """End this process with its parent, also one that was killed: nobody would stop it."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a pool has started this process"
    parent.join()
    os._exit(1)

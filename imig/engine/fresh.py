"""A fresh worker: a process that has seen no scene, watched by its parent.

Ray tells that a worker is gone, and neither why nor of what. Once one has died, its block is
therefore shown to processes of our own, whose exit codes, signals and last words are there to read.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Literal, Self

from imig.engine.blocks import Block, Care, FreshWorkerNeeded
from imig.engine.deaths import LONGEST_WORDS, Death
from imig.engine.fitting import FittingSize, run_fitting
from imig.engine.patience import Patience
from imig.engine.plan import Step
from imig.engine.watching import MARK, time_limit
from imig.errors import ImigError
from imig.processes import interrupts_held, leave_with_parent
from imig.sample import Sample
from imig.schema import Quarantine
from imig.stages.base import Stage
from imig.stages.loading import shared_models
from imig.startup import objects_that_stay
from imig.threads import limit_threads, wait_passively

MEMORY_EXIT: Final = 77
"""The exit code of a worker that has found no memory for a single scene."""
GRACE_SECONDS: Final = 10.0
"""Beyond the time limit, until a worker that does not leave by itself is killed."""
EXTENSIONS: Final = "\nExtension modules: "
"""Behind a stack, the fault handler lists a hundred libraries."""
_READY: Final = "ready"
_AT: Final = "at"
_TELLS: Final = "tells"
_DONE: Final = "done"
_RAISED: Final = "raised"


class FreshWorker:
    """A process with a group's stages, for one block after the other; leave it to end it.

    Parameters
    ----------
    steps:
        The stages, not set up: a pickled tuple of `Step`.
    timeouts:
        Seconds, by stage.
    sizes:
        Batch sizes to begin with, by stage.
    threads:
        CPU threads for the models.
    patience:
        Seconds, with faults of the system.
    folder:
        For its last words; whoever made it removes what a killed parent leaves.
    tell:
        Gets lines for the console.
    """

    def __init__(
        self,
        steps: bytes,
        *,
        timeouts: Mapping[str, float],
        sizes: Mapping[str, FittingSize],
        threads: int,
        patience: float,
        folder: Path,
        tell: Callable[[str], object],
    ) -> None:
        self._tell = tell
        self._loading = max(timeouts.values())
        self._patience = patience
        self._timeouts = timeouts
        self._at: tuple[str, list[str]] | None = None
        self._loaded = False
        self._strikes = out_of_memory_kills()
        descriptor, name = tempfile.mkstemp(prefix="imig-words-", suffix=".txt", dir=folder)
        os.close(descriptor)
        self._words = Path(name)
        self._connection, theirs = multiprocessing.get_context("spawn").Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_serve,
            args=(steps, dict(sizes), theirs, self._words, threads, patience),
            daemon=True,
        )
        with interrupts_held():
            self._process.start()
        theirs.close()

    def run(self, block: Block, guilty: Mapping[str, Quarantine]) -> Block | Death:
        """The block behind the stages; or how the process has died over it.

        Raises what ends the build: a stage's `UsageError`, say, as it would in any other worker.
        """
        if not self._loaded:
            if (death := self._wait_for(_READY, self._loading)) is not None:
                return death
            self._loaded = True
        try:
            self._connection.send((block, dict(guilty)))
        except OSError:
            return self._death()
        return self._answers()

    def _wait_for(self, kind: str, seconds: float) -> Death | None:
        message = self._receive(seconds)
        if isinstance(message, Death):
            return message
        assert message[0] == kind, message
        return None

    def _answers(self) -> Block | Death:
        self._at = None
        seconds = self._loading
        while True:
            message = self._receive(seconds)
            if isinstance(message, Death):
                return message
            kind, value = message
            if kind == _DONE:
                assert isinstance(value, Block)
                self._at = None
                return value
            if kind == _AT:
                self._at = value
                seconds = self._timeouts[value[0]]
            else:  # it waits for the system before it tries again
                seconds = self._loading + self._patience
                self._tell(value)

    def _receive(self, seconds: float) -> tuple[str, Any] | Death:
        try:
            if not self._connection.poll(seconds + GRACE_SECONDS):
                self._process.kill()
                return self._death(hung=True)
            message: tuple[str, Any] = self._connection.recv()
        except (EOFError, OSError):
            return self._death()
        if message[0] == _RAISED:
            raise message[1]
        return message

    def _death(self, *, hung: bool = False) -> Death:
        self._process.join()
        code = self._process.exitcode or 0
        words = self._words.read_text(encoding="utf-8", errors="replace")
        words = words.partition(EXTENSIONS)[0].strip()
        stage, scenes = self._at or (None, [])
        hung = hung or (code == 1 and MARK in words)
        kind: Literal["signal", "exit", "hung", "memory"] = "signal" if code < 0 else "exit"
        if hung:
            kind = "hung"
        elif code == MEMORY_EXIT:
            kind = "memory"
        return Death(
            kind=kind,
            code=abs(code),
            stage=stage,
            scenes=scenes,
            seconds=(self._loading if stage is None else self._timeouts[stage]) if hung else 0.0,
            words=words[-LONGEST_WORDS:],
            struck=out_of_memory_kills() > self._strikes,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()
        self._process.kill()
        self._process.join()
        self._words.unlink(missing_ok=True)


def out_of_memory_kills() -> int:
    """How often the kernel has ended a process of this machine, or container, for its memory."""
    found = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        with suppress(OSError, ValueError):
            for line in Path(path).read_text(encoding="ascii").splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    found += int(count)
    return found


def _serve(
    pickled: bytes,
    sizes: dict[str, FittingSize],
    connection: Connection,
    words: Path,
    threads: int,
    patience: float,
) -> None:
    """What runs in the process."""
    _write_into(words)
    threading.Thread(target=leave_with_parent, daemon=True).start()
    faulthandler.enable(all_threads=False)
    try:
        wait_passively()
        warnings.filterwarnings("ignore")
        limit_threads(threads)
        steps: tuple[Step, ...] = pickle.loads(pickled)
        timeouts = {step.stage.name: step.resources.timeout for step in steps}
        with (
            time_limit(max(timeouts.values())),
            objects_that_stay(),
            shared_models(),
        ):
            for step in steps:
                step.stage.setup()
                step.stage.use_batch_size(sizes[step.stage.name].now)
        limit_threads(threads)
        connection.send((_READY, None))

        @contextmanager
        def watch(stage: Stage, batch: Sequence[Sample]) -> Iterator[None]:
            connection.send((_AT, (stage.name, [sample.scene.id for sample in batch])))
            with time_limit(timeouts[stage.name]):
                yield

        care = Patience(patience, tell=lambda line: connection.send((_TELLS, line)))
        while True:
            block, guilty = connection.recv()
            for step in steps:
                run_fitting(
                    block,
                    step.stage,
                    sizes[step.stage.name],
                    care=Care(guilty=guilty, watch=watch, patience=care),
                )
            connection.send((_DONE, block))
    except (EOFError, BrokenPipeError):
        return  # the parent has no more
    except (MemoryError, FreshWorkerNeeded):
        traceback.print_exc()
        _leave(MEMORY_EXIT)
    except Exception as error:
        failure = error
        if not isinstance(error, ImigError):
            failure = RuntimeError(f"in a fresh worker\n{traceback.format_exc()}")
        connection.send((_RAISED, failure))


def _write_into(words: Path) -> None:
    """Let everything that is printed go into a file, also by libraries in C."""
    descriptor = os.open(words, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _leave(code: int) -> None:
    sys.stderr.flush()
    os._exit(code)

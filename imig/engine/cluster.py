"""Start Ray on this machine or connect to a cluster, quietly."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from imig.engine.groups import Group
from imig.engine.machine import Machine, local_machine
from imig.engine.ray_life import RayLost, end_processes, explained_ray_errors
from imig.errors import DataError, UsageError
from imig.threads import cpu_count

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    # Ray's C++ side prints advice for its developers to stderr.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # A stage that asks for no GPU still sees it, so that `device: auto` finds a lone one.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # After Ctrl-C the thread that reads results must not start Ray anew.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}

_SPARE_CPUS = 3
"""Ray starts a process for each logical CPU at once, and Ray Data needs three for itself."""
_started_here = False
"""Whether a session of this process has started the Ray that is up, on this machine."""


@contextmanager
def ray_session(*, address: str | None, needed_cpus: float) -> Iterator[Machine]:
    """Ray, up and configured while the block runs; yields what it has for workers.

    Inside another session, or in a program that has its own Ray, that one is used and stays up.

    Parameters
    ----------
    address:
        Of a running cluster; None starts Ray on this machine.
    needed_cpus:
        Logical CPUs that the workers need together, for a Ray that is started here: on two cores
        seven stages then take turns instead of waiting for one another.

    Raises
    ------
    UsageError
        The cluster cannot be reached.
    DataError
        Ray does not come up on this machine, or its own processes die meanwhile.
    """
    global _started_here
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        _configure()
        # The logical CPUs of a Ray that was started below are more than there are.
        yield local_machine() if _started_here else _cluster_machine()
        return
    folder = None if address else _make_temp_folder()
    # A thread of its own for Ray's start and end. There Ray leaves our handler of SIGTERM alone,
    # and both run to their end when Ctrl-C interrupts us: after half a start, Ray's C++ side
    # aborts the process at exit. Ray's processes die with the thread that has started them.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="imig-ray") as ray_thread:
        try:
            if folder is None:
                ray_thread.submit(_connect, str(address)).result()
            else:
                ray_thread.submit(_start, needed_cpus, folder).result()
                _started_here = True
            _take_sigterm_back()
            _configure()
            with explained_ray_errors():
                yield _cluster_machine() if folder is None else local_machine()
        except RayLost:
            ray_thread.submit(end_processes).result()
            raise
        finally:
            _started_here = False
            ray_thread.submit(ray.shutdown).result()
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def _take_sigterm_back() -> None:
    """Ray's C++ side has put a handler before Python's, which prints a stack trace."""
    handler = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(signal.SIGTERM, handler)


def _start(needed_cpus: float, folder: Path) -> None:
    import ray

    try:
        with _hushed_stderr():
            ray.init(
                address="local",
                num_cpus=max(cpu_count(), math.ceil(needed_cpus) + _SPARE_CPUS),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(folder),
            )
    except Exception as error:  # of any class: Ray raises what its processes' deaths lead to
        end_processes()
        lines = str(error).splitlines()
        raise DataError(
            f"Ray does not start on this machine: {lines[0] if lines else type(error).__name__}",
            cure="was one of its processes killed, or is there too little memory, or room in "
            f"{folder.parent}? The same command tries again, and finished work is kept",
        ) from error


def _connect(address: str) -> None:
    import ray

    # Warns that it has not taken SIGTERM.
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"engine.ray_address: no Ray cluster answers at {address!r}: {error}",
            cure="start one with `ray start --head`, or remove engine.ray_address",
        ) from error


@contextmanager
def _hushed_stderr() -> Iterator[None]:
    """Ray's C++ side greets on the file descriptor; what fails is raised in Python anyway."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _configure() -> None:
    """Quiet Ray Data, and let it hand each block on."""
    import ray.data

    # Ray logs each exception before it raises it; people get our account of it.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A row is a whole block of scenes: hand each on as soon as it is done.
    context.target_max_block_size = 1 << 20


def needed(groups: Sequence[Group], kind: Literal["cpus", "gpus"]) -> float:
    """CPUs or GPUs of all workers together."""
    return float(sum(getattr(group, kind) * group.workers for group in groups))


def require_resources(groups: Sequence[Group]) -> None:
    """Raise UsageError when Ray, which must be up, lacks the CPUs or GPUs of the workers."""
    kinds: tuple[tuple[Literal["cpus", "gpus"], str], ...] = (("gpus", "GPU"), ("cpus", "CPU"))
    for kind, name in kinds:
        wanted, available = needed(groups, kind), _cluster_resources().get(name, 0.0)
        if wanted > available + 1e-6:
            greedy = max(groups, key=lambda group: getattr(group, kind)).stages[0]
            raise UsageError(
                f"the stages ask for {wanted:g} {name}s together, and Ray has {available:g}",
                cure=f"lower {greedy}.resources.{kind} (fractions share one) or its concurrency",
            )


def _cluster_machine() -> Machine:
    """What a Ray that is up has, all its nodes together; at least one CPU."""
    found = _cluster_resources()
    return Machine(
        cpus=max(1, int(found.get("CPU", 0))),
        gpus=int(found.get("GPU", 0)),
        memory=int(found.get("memory", 0)),
    )


def _cluster_resources() -> dict[str, float]:
    import ray

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources


def remove_dead_sessions() -> None:
    """Remove Ray's temporary files of builds that were killed: megabytes each, and nobody else's.

    A session does so on its way; a build that finds all its blocks finished has none.
    """
    with suppress(OSError):  # nothing is there, or it is not to be had
        for old in _sessions_folder().iterdir():
            if old.name.isdigit() and not _is_alive(int(old.name)):
                shutil.rmtree(old, ignore_errors=True)


def _make_temp_folder() -> Path:
    try:
        parent = _sessions_folder()
        parent.mkdir(mode=0o700, exist_ok=True)
        remove_dead_sessions()
        folder = parent / str(os.getpid())
        folder.mkdir(exist_ok=True)
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        raise UsageError(
            f"Ray has no place for its temporary files: {place}{error.strerror}",
            cure="make room there, or export TMPDIR=FOLDER, a short path that you may write to",
        ) from error
    return folder


def _sessions_folder() -> Path:
    """A short path: Ray puts sockets below it, whose paths end at 107 characters."""
    base = Path(tempfile.gettempdir())
    return (base if len(str(base)) < 30 else Path("/tmp")) / f"imig-{os.getuid()}"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # somebody else's
    return True

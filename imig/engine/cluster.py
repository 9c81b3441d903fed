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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from imig.engine.machine import Machine, local_machine
from imig.engine.nodes import alive_nodes
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
            with explained_ray_errors(), _deaf_to_raylets():
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
    with tempfile.TemporaryFile() as said:
        try:
            with _hushed_stderr(said.fileno()):
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            said.seek(0)
            raise _no_cluster(address, error, said=said.read().decode(errors="replace")) from error


def _no_cluster(address: str, error: Exception, *, said: str) -> UsageError:
    """What keeps us out; `said` is what Ray has printed meanwhile."""
    if "InvalidAuthToken" in said or "Unauthenticated" in said:
        return UsageError(
            f"engine.ray_address: the Ray cluster at {address!r} wants another token",
            cure="set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH here as on its nodes (a cluster "
            "without tokens: RAY_AUTH_MODE=disabled)",
        )
    if "Version mismatch" in str(error):
        lines = " ".join(line.strip() for line in str(error).splitlines())
        return UsageError(
            f"engine.ray_address: the cluster at {address!r} runs another Ray or Python: {lines}",
            cure="install the same versions here and on every node",
        )
    return UsageError(
        f"engine.ray_address: no Ray cluster answers at {address!r}: {error}",
        cure="start one with `ray start --head`, or remove engine.ray_address",
    )


@contextmanager
def _hushed_stderr(instead: int | None = None) -> Iterator[None]:
    """Ray's C++ side greets on the file descriptor; what fails is raised in Python anyway.

    What is said goes to the descriptor `instead`, where one is given.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere if instead is None else instead, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _deaf_to_raylets() -> Iterator[None]:
    """What raylets push to the driver is not printed: thirty lines for each node that goes away.

    `imig.engine.nodes` says it in one. Ray has no setting for it.
    """
    from ray._private import worker

    printing = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *data, **options: None
    try:
        yield
    finally:
        worker.print_to_stdstream = printing


def _configure() -> None:
    """Quiet Ray Data, and let it hand each block on."""
    import ray.data

    # Ray logs each exception before it raises it; people get our account of it.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


def _cluster_machine() -> Machine:
    """What a Ray that is up has, all its nodes together; at least one CPU."""
    found = [node.resources for node in alive_nodes()]
    return Machine(
        cpus=max(1, int(sum(one.get("CPU", 0) for one in found))),
        gpus=int(sum(one.get("GPU", 0) for one in found)),
        memory=int(sum(one.get("memory", 0) for one in found)),
    )


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

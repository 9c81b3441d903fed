"""Whether Ray itself is alive.

When its processes are gone, Ray's C++ side ends the driver after a while (13 s for the raylet, 60 s
for the GCS) with exit code 1 and without a word. Whoever looks before that can still say what has
happened, and what to do.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from imig.errors import DataError

PROCESSES: Final = {"raylet": "raylet", "gcs_server": "global control service (GCS)"}
"""Those without which nothing goes on, by Ray's names for them."""
SILENT_SECONDS: Final = 30.0
"""A cluster's GCS may take a while over a network; 30 s later Ray ends this process."""
CURE: Final = (
    "finished work is kept: the same command continues. Was it killed, or has memory run out "
    "(`dmesg`)?"
)

_silent_since: float | None = None


class RayLost(DataError):
    """Ray's own processes are gone: nothing of it can be asked or shut down any more."""


def require_ray() -> None:
    """Raise RayLost when a process that Ray needs is gone; Ray must have been started."""
    for name in _gone():
        raise RayLost(f"Ray's {PROCESSES[name]} has died", cure=CURE)
    _require_gcs()


def wait_for_ray() -> None:
    """Return when Ray answers: what asks a cluster's GCS that is silent hangs until Ray gives up.

    Raises RayLost when a process that Ray needs is gone, or the GCS stays silent.
    """
    require_ray()
    while _silent_since is not None:
        time.sleep(1.0)
        require_ray()


@contextmanager
def explained_ray_errors() -> Iterator[None]:
    """What Ray raises within, where nobody expects it, as an error for people."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        require_ray()
        raise gave_up(error) from error


def gave_up(error: Exception) -> DataError:
    """What Ray itself gave up on: nodes lost, workers that die before they can say why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return DataError(
        f"Ray gave up ({type(error).__name__}): {lines[-1] if lines else 'no reason given'}",
        cure="finished work is kept: the same command continues. If it happens again, lower "
        "resources.batch_size or resources.concurrency",
    )


def end_processes() -> None:
    """End what is left of a Ray that was started here and is lost; it does not answer any more."""
    node = _node()
    if node is not None:
        node.kill_all_processes(check_alive=False, allow_graceful=False, wait=False)


def _gone() -> list[str]:
    """Of a Ray that was started here."""
    node = _node()
    if node is None or not node.head:
        return []
    return [
        name
        for name in PROCESSES
        for info in node.all_processes.get(name, ())
        if info.process.poll() is not None
    ]


def _node() -> Any:
    import ray._private.worker

    return ray._private.worker._global_node


def _require_gcs() -> None:
    """Of a cluster somewhere else: whether its GCS takes connections."""
    global _silent_since
    node = _node()
    if node is None or node.head:
        return
    host, _, port = str(node.gcs_address).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2.0).close()
    except OSError as error:
        now = time.monotonic()
        _silent_since = now if _silent_since is None else _silent_since
        if now - _silent_since > SILENT_SECONDS:
            raise RayLost(
                f"the Ray cluster's GCS at {node.gcs_address} does not answer: "
                f"{error.strerror or error}",
                cure="is its head node up? Finished work is kept: the same command continues",
            ) from error
    else:
        _silent_since = None

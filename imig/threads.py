"""How many threads PyTorch and NumPy compute with, and what they do while they wait.

Libraries read both from the environment when they are loaded: a command calls this before it
imports torch, and its worker processes inherit what it has set. Nothing here imports either.
"""

from __future__ import annotations

import os
import sys

_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def wait_passively() -> None:
    """Threads that wait for each other sleep, where the user's environment says nothing else.

    By default they spin, for they trust that each has a core of its own. Beside another busy
    program that is wrong: the spinning one takes the core of the one that it waits for.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def limit_threads(count: int) -> None:
    """So many threads for this process and those that it starts, from now on.

    For workers, which share the cores with others of their kind; a single program is left what the
    libraries choose: a thread a core.
    """
    for name in _COUNTS:
        os.environ[name] = str(count)
    torch = sys.modules.get("torch")
    if torch is not None:  # loaded already: it does not look at the environment any more
        torch.set_num_threads(count)


def cpu_count() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

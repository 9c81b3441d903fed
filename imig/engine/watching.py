"""Ends a process that hangs, also one that hangs in C and will not hear of anything.

Python's fault handler has a thread of its own in C, which needs no lock of the interpreter: when
time is up it writes what every thread is at to stderr and leaves.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager

MARK = "Timeout ("
"""How the fault handler's last words begin."""
_STDERR = 2
"""As a file descriptor: the object may be another's by then."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End the process, with exit code 1, when the block takes longer. Not to be nested."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()

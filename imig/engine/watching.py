"""Ends a process that hangs, also one that hangs in C and will not hear of anything.

Python's fault handler has a thread of its own in C, which needs no lock of the interpreter: when
time is up it writes what every thread is at to stderr and leaves.
"""

from __future__ import annotations

import faulthandler
import time
from collections.abc import Iterator
from contextlib import contextmanager

MARK = "Timeout ("
"""How the fault handler's last words begin."""
_LATER = 1 / 20
"""Share of a limit by which it may come late."""
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


class TimeLimits:
    """Time limits of many stretches of work that follow one another without a pause.

    Each limit of its own would start a thread and end it, 0.1 ms: for eight small scenes as much as
    a quarter of what the engine costs. So a limit that is running holds for the next stretch too,
    where it ends neither before that one's nor `_LATER` of it later. `stop` before any pause.
    """

    def __init__(self) -> None:
        self._ends = 0.0

    def begin(self, seconds: float) -> None:
        """What begins now may take so long, or a little longer."""
        now = time.monotonic()
        longest = seconds * (1 + _LATER)
        if not now + seconds <= self._ends <= now + longest:
            faulthandler.dump_traceback_later(longest, exit=True, file=_STDERR)
            self._ends = now + longest

    def stop(self) -> None:
        """What follows may take any time."""
        faulthandler.cancel_dump_traceback_later()
        self._ends = 0.0

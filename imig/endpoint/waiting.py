"""When the next request may be sent: pace, back-off, and what a server asks for."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

LONGEST_BACKOFF = 60.0
"""Seconds; a server may ask for longer waits, back-off alone does not grow further."""


class Throttle:
    """Spaces the requests of several threads, and holds all of them when the server asks.

    Parameters
    ----------
    per_minute:
        Requests a minute, at most; None: as many as there are.
    clock, sleep:
        The time in seconds, and how a thread lets it pass.
    """

    def __init__(
        self,
        per_minute: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Block until this thread's turn."""
        with self._lock:
            turn = max(self._next, self._clock())
            self._next = turn + self._gap
        self._sleep(max(0.0, turn - self._clock()))

    def hold(self, seconds: float) -> None:
        """Nobody sends for so long; who waits for a turn already keeps it."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)


def backoff_seconds(attempt: int, *, first: float) -> float:
    """Before try `attempt` + 1, counted from 1: doubles each time, with jitter down to a half.

    The jitter keeps threads that failed together from coming back together.
    """
    longest = min(LONGEST_BACKOFF, first * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)


def asked_seconds(headers: Mapping[str, str]) -> float | None:
    """How long the server asks to wait (`Retry-After`: seconds, or a date); None: it does not."""
    text = headers.get("retry-after-ms", "")
    try:
        return _seconds(float(text) / 1000)
    except ValueError:
        text = headers.get("retry-after", "").strip()
    try:
        return _seconds(float(text))
    except ValueError:
        pass
    try:
        return _seconds(parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _seconds(asked: float) -> float | None:
    return None if math.isnan(asked) else max(0.0, asked)

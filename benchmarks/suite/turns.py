"""Time several ways of doing the same in turn, so that a machine's moods meet all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median


def seconds_in_turn(
    ways: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
    warm_up: bool = True,
) -> dict[str, float]:
    """Median seconds of each way: A B A B .., after one round that is not counted.

    Parameters
    ----------
    clock:
        `time.process_time` where the load of the machine would decide and one process does all of
        the work: it leaves out what other programs do meanwhile.
    warm_up:
        False where a first call is the thing to measure.
    """
    if warm_up:
        for way in ways.values():
            way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            started = clock()
            way()
            seconds[name].append(clock() - started)
    return {name: median(values) for name, values in seconds.items()}

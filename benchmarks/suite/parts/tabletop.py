"""Scenes that the procedural world draws a second on one core, beside what a build needs of it.

Image, masks and caption of each, with 2 to 8 things. There is no peer: the limit is a number of
scenes a second below which drawing would be what a build of the tiny models waits for. Processor
time, one thread.
"""

from __future__ import annotations

import time

from benchmarks.suite.rows import Bar, Row
from imig.tabletop import render_scene, sample_scene

NEEDED = 60.0
"""Scenes a second of one core at 256 px."""
SIZE_OF_BAR = 256


def measure(*, small: bool) -> list[Row]:
    """A row for each size; `ratio` is ours over what is needed at 256 px, scaled by the pixels."""
    if small:
        return [_row(SIZE_OF_BAR, scenes=3)]
    return [_row(256, scenes=400), _row(512, scenes=100), _row(1024, scenes=25)]


def _row(size: int, *, scenes: int) -> Row:
    render_scene(sample_scene(0, width=size, height=size))
    started = time.process_time()
    for seed in range(scenes):
        render_scene(sample_scene(seed, width=size, height=size))
    ours = scenes / (time.process_time() - started)
    needed = NEEDED * (SIZE_OF_BAR / size) ** 2
    return Row(
        part="tabletop",
        case=f"{size} px",
        unit="scenes/s",
        ours=ours,
        theirs=needed,
        against="wanted of one core, by the pixel",
        ratio=ours / needed,
        bar=Bar(at_least=1) if size == SIZE_OF_BAR else None,
    )

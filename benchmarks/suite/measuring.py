"""Measure a part: here, or in a process of its own."""

from __future__ import annotations

import importlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.suite import parts
from benchmarks.suite.rows import Row


def measure(part: str, *, small: bool) -> list[Row]:
    """The rows of a part, measured in this process."""
    rows: list[Row] = importlib.import_module(f"{parts.__name__}.{part}").measure(small=small)
    return rows


def measure_apart(part: str, *, small: bool) -> list[Row]:
    """The same in a process of its own: what a part leaves behind slows down the one after it."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, part, small=small).result()

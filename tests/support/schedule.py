"""How pytest-xdist shares the tests out: by units of work, the slowest first."""

from __future__ import annotations

from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

ONE_UNIT: Final = "tests/builds"
"""Whole builds run one at a time: each fills the memory of a laptop."""

SLOWEST_FIRST: Final = (
    ONE_UNIT,
    "tests/test_benchmark_suite.py",
    "tests/test_benchmark_gpu.py",
    "tests/training/test_training_loop.py",
    "tests/engine/test_engine_build.py",
    "tests/training/test_training_encode.py",
    "tests/engine/test_engine_kill.py",
    "tests/training/test_training_parallel.py",
    "tests/training/test_training_processes.py",
    "tests/training/test_training_checkpoint.py",
)
"""Units that take more than 15 seconds: begun last, one of them would keep one process busy while
the others are through."""


def unit_of(test: str) -> str:
    """The file of a test, which shares its fixtures, or `ONE_UNIT`."""
    file = test.split("::")[0]
    return ONE_UNIT if file.startswith(f"{ONE_UNIT}/") else file


def place_of(test: str) -> int:
    """Sorts tests by when they should begin."""
    unit = unit_of(test)
    return SLOWEST_FIRST.index(unit) if unit in SLOWEST_FIRST else len(SLOWEST_FIRST)


class UnitScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Gives whole units to the processes, in the order in which they were collected."""

    def __init__(self, config: pytest.Config, log: Producer | None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

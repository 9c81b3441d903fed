"""`report.json`: what each stage of a build did."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from imig.errors import DataError
from imig.regular_file import read_regular_file
from imig.schema import first_problem

REPORT_JSON: Final = "report.json"
FIRST_DETAILS: Final = 5
"""Oddities of a kind whose details a report names."""


@dataclass
class Oddity:
    """Something odd in samples that were gone on with."""

    count: int = 0
    first: list[str] = field(default_factory=list)
    """Sample and details of the first few."""

    def add(self, other: Oddity) -> None:
        self.count += other.count
        self.first = [*self.first, *other.first][:FIRST_DETAILS]


@dataclass(frozen=True)
class FunnelRow:
    """One stage's line in the funnel."""

    stage: str
    seen: int
    rejected: int
    quarantined: int
    passed: int
    seconds: float
    """Worker seconds, over all runs of the build; workers of a stage add up."""
    reasons: dict[str, int]
    """Reason or error class -> scenes, the most frequent first."""
    oddities: dict[str, Oddity] = field(default_factory=dict)
    """What was odd in scenes that were gone on with, by kind."""
    system_faults: int = 0
    """Of the quarantined scenes: those for which a disk, the network or a server was at fault."""


def read_funnel(path: Path) -> list[FunnelRow]:
    """The funnel in a dataset's report, in the order of the stages.

    Raises
    ------
    OSError
        When there is no such file.
    DataError
        When it is no report.
    """
    return funnel_from_json(read_regular_file(path), place=str(path))


def funnel_from_json(data: bytes, *, place: str) -> list[FunnelRow]:
    """The funnel in a report's bytes. Raises DataError when it is no report."""
    try:
        return TypeAdapter(list[FunnelRow]).validate_python(json.loads(data)["stages"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = first_problem(error) if isinstance(error, ValidationError) else repr(error)
        raise DataError(f"{place} is no report of a build: {what}") from error

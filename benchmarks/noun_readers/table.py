"""The captions and class names of tests/data/nouns, and how a reader does on them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parents[2] / "tests" / "data" / "nouns"

Reader = Callable[[str], list[str]]
"""A caption -> its phrases."""


@dataclass(frozen=True)
class Case:
    """One caption of the table with the phrases to look for."""

    kind: str
    held_out: bool
    caption: str
    phrases: frozenset[str]


@dataclass(frozen=True)
class Figures:
    """How a reader did: shares of captions and phrases, of class names, and time."""

    exact: float
    exact_held_out: float
    precision: float
    recall: float
    coco: tuple[float, float]
    lvis: tuple[float, float]
    microseconds: float


def cases() -> list[Case]:
    lines = (DATA / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        Case(row["kind"], row["held_out"], row["caption"], frozenset(row["phrases"]))
        for row in map(json.loads, lines)
    ]


def class_names(dataset: str) -> list[tuple[str, str]]:
    """Names and their plurals, of "coco" or "lvis"."""
    lines = (DATA / f"{dataset}_classes.tsv").read_text(encoding="utf-8").splitlines()
    return [(name, plural) for name, plural in (line.split("\t") for line in lines)]


def measure(read: Reader) -> Figures:
    table = cases()
    start = time.perf_counter()
    found = [frozenset(read(case.caption)) for case in table]
    spent = time.perf_counter() - start
    held = [one == case.phrases for one, case in zip(found, table, strict=True) if case.held_out]
    right = sum(len(one & case.phrases) for one, case in zip(found, table, strict=True))
    return Figures(
        exact=_mean([one == case.phrases for one, case in zip(found, table, strict=True)]),
        exact_held_out=_mean(held),
        precision=right / max(1, sum(map(len, found))),
        recall=right / sum(len(case.phrases) for case in table),
        coco=recovered(read, "coco"),
        lvis=recovered(read, "lvis"),
        microseconds=spent / len(table) * 1e6,
    )


def recovered(read: Reader, dataset: str) -> tuple[float, float]:
    """Shares of class names whole in "a photo of a X" and in "two Xs and a Y"."""
    names = class_names(dataset)
    nexts = [*names[1:], names[0]]
    one = [read(f"a photo of a {name}") == [name.lower()] for name, _ in names]
    two = [
        name.lower() in read(f"two {plural} and a {other}")
        for (name, plural), (other, _) in zip(names, nexts, strict=True)
    ]
    return _mean(one), _mean(two)


def _mean(values: list[bool]) -> float:
    return sum(values) / len(values)

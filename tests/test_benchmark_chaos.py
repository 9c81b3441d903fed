"""Killed anywhere and given again, a command makes what it makes undisturbed; benchmarks/chaos.py.

The short test kills one command behind every kind of change that it makes to its shards; the long
ones kill several behind every kind of change, and run the benchmark itself in small.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.chaos_parts.cases import Case, cases
from benchmarks.chaos_parts.rounds import Outcome, Place, Plan, Reference, play, undisturbed
from benchmarks.chaos_parts.watching import Change
from imig.derived.split import split_dataset
from imig.interop.exporting import export_dataset
from support.derived_datasets import make_scene, write_dataset
from support.warm_imig import WarmImig, warm_imig

REPOSITORY = Path(__file__).parents[1]
MODULES = (
    "imig.derived.split", "imig.derived.merge", "imig.derived.refilter",
    "imig.interop.importing", "imig.interop.exporting", "imig.display.picture",
)  # fmt: skip


@pytest.fixture(scope="module")
def imig() -> Iterator[WarmImig]:
    with warm_imig(*MODULES) as warm:
        yield warm


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `benchmarks.chaos_parts.cases` expects, of a dozen small scenes."""
    folder = tmp_path_factory.mktemp("inputs")
    samples = [make_scene(number, things=2 + number % 2) for number in range(12)]
    write_dataset(folder / "scenes", samples, per_shard=4)
    return folder


def kill_behind(
    case: Case, changes: Callable[[Change], bool], imig: WarmImig, folder: Path
) -> tuple[Reference, Outcome]:
    """Rounds with one kill each, behind the first of every kind of change that is asked for."""
    (folder / "undisturbed").mkdir()
    place = Place(
        case, folder / "undisturbed", scratch=folder, mark="undisturbed", start=imig.start
    )
    reference, whole = undisturbed(place), Outcome()
    for number, change in enumerate(sorted(filter(changes, reference.changes))):
        place = Place(
            case, folder / str(number), scratch=folder, mark=f"{number}", start=imig.start
        )
        plans = iter([Plan("kill driver", change, 1, 0.0)])
        whole.add(play(place, reference, plans, strikes=1, generator=random.Random(0)))
    return reference, whole


def findings(outcome: Outcome) -> Sequence[str]:
    return [*outcome.differences, *outcome.halves, *outcome.left]


def test_a_split_killed_behind_any_change_to_its_shards_ends_as_undisturbed(
    inputs: Path, imig: WarmImig, tmp_path: Path
) -> None:
    case = cases(inputs)["split"]
    _, outcome = kill_behind(
        case, lambda one: "out/train/" in one.name and ".tar" in one.name, imig, tmp_path
    )
    assert findings(outcome) == []
    assert len(outcome.hits) >= 3

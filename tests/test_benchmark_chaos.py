"""Killed anywhere and given again, a command makes what it makes undisturbed: benchmarks/chaos.py.

The short test kills one command behind every kind of change that it makes to its shards; the long
ones kill several behind every kind of change at all, and run the benchmark itself.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.derived_datasets import make_scene, write_dataset
from support.warm_imig import WarmImig, warm_imig

from benchmarks.chaos_parts.cases import Case, cases
from benchmarks.chaos_parts.reading import Reader, digests
from benchmarks.chaos_parts.rounds import Outcome, Place, Plan, play, undisturbed
from benchmarks.chaos_parts.watching import Change
from imig.interop.exporting import export_dataset

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def imig() -> Iterator[WarmImig]:
    modules = ("imig.derived.merge", "imig.display.picture", "pandas", "matplotlib.font_manager")
    with warm_imig(*modules, "pycocotools.mask") as warm:
        yield warm


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs of `benchmarks.chaos_parts.cases` that a merge needs."""
    folder = tmp_path_factory.mktemp("inputs")
    for side, numbers in {"train": (0, 1), "validation": (2,)}.items():
        samples, recipe = [make_scene(one) for one in numbers], {"name": side}
        write_dataset(folder / "halves" / side, samples, recipe=recipe, rejects=[], quarantined=[])
    return folder


@pytest.fixture(scope="module")
def inputs(halves: Path) -> Path:
    """All of them but what is encoded."""
    samples = [make_scene(number, things=2 + number % 2) for number in range(12)]
    write_dataset(halves / "scenes", samples, per_shard=4)
    export_dataset(halves / "scenes", "folders", output=halves / "folders")
    return halves


def kill_behind(
    case: Case, wanted: Callable[[Change], bool], imig: WarmImig, folder: Path
) -> Outcome:
    """A round with a kill behind the first of each kind of change that is wanted."""

    def place(mark: str) -> Place:
        return Place(case, folder / mark, scratch=folder, mark=mark, start=imig.start)

    reference, whole = undisturbed(place("undisturbed")), Outcome()
    for number, change in enumerate(sorted(filter(wanted, reference.changes))):
        plans = iter([Plan("kill driver", change, 1, 0.0)])
        generator = random.Random(number)
        whole.add(play(place(f"n{number}"), reference, plans, strikes=1, generator=generator))
    return whole


def test_a_merge_killed_behind_any_change_to_its_shards_ends_as_undisturbed(
    halves: Path, imig: WarmImig, tmp_path: Path
) -> None:
    outcome = kill_behind(cases(halves)["merge"], lambda one: ".tar" in one.name, imig, tmp_path)
    assert [*outcome.differences, *outcome.halves, *outcome.left] == []
    assert len(outcome.hits) >= 2
    assert outcome.looks > 0


@pytest.mark.long
@pytest.mark.parametrize("command", ["refilter", "merge", "split", "import", "export"])
def test_killed_behind_any_change_at_all_it_ends_as_undisturbed(
    inputs: Path, imig: WarmImig, tmp_path: Path, command: str
) -> None:
    case = cases(inputs)[command]
    arguments = [one for one in case.arguments if not one.startswith("--workers")]
    outcome = kill_behind(replace(case, arguments=arguments), lambda _: True, imig, tmp_path)
    assert [*outcome.differences, *outcome.halves, *outcome.left] == []
    assert len(outcome.hits) > 5


@pytest.mark.long
def test_the_benchmark_runs(tmp_path: Path) -> None:
    file = tmp_path / "chaos.json"
    command = ["--only", "merge", "export", "--kills", "2", "--json", str(file)]
    done = subprocess.run(
        [sys.executable, "benchmarks/chaos.py", *command],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(file.read_text())
    assert set(report) == {"merge", "export"}
    assert all(len(one["hits"]) >= 2 for one in report.values())


def test_the_reader_sees_halves_strangers_and_what_is_sealed_too_early(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    for name in ("a.tar", "b.tar", "dataset.json"):
        (whole / name).write_bytes(name.encode() * 100)
    output = tmp_path / "out"
    output.mkdir()
    reader = Reader(output, digests(whole), seals={"dataset.json": ""})
    (output / "a.tar").write_bytes(b"a.tar" * 100)
    (output / ".b.tar.tmp-1").write_bytes(b"b")
    reader.look()
    assert reader.problems == []
    (output / "b.tar").write_bytes(b"b.tar" * 99)
    (output / "c.tar").write_bytes(b"")
    reader.look()
    assert reader.problems == [
        "b.tar was seen with 495 bytes that are not the final ones",
        "c.tar is in no undisturbed output",
    ]
    (output / "b.tar").unlink()
    (output / "dataset.json").write_bytes(b"dataset.json" * 100)
    reader.look()
    assert reader.problems[2:] == ["dataset.json was there before b.tar"]

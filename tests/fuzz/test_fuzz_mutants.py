"""Damaged files of good datasets: only imig's own errors, nothing written, no two opinions."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fuzzing.cases import KINDS, Case, make_case
from support.fuzzing.corpus import Kept, first_words, kept_cases
from support.fuzzing.readers import Bench, read_case

from imig.errors import ImigError

SHORT, LONG = 80, 20_000


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("mutants"))


@pytest.fixture(autouse=True)
def _bombs_are_quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_a_mutant_is_the_same_for_ever() -> None:
    cases = [make_case(number, seed=5) for number in range(40)]
    assert cases == [make_case(number, seed=5) for number in range(40)]
    assert len({one.data for one in cases}) > 35


def test_every_kind_occurs() -> None:
    assert {make_case(number, seed=5).kind for number in range(1500)} == set(KINDS)


@pytest.mark.parametrize("kept", kept_cases(), ids=str)
def test_what_has_been_found(bench: Bench, kept: Kept) -> None:
    assert first_words(kept.case(), bench) == kept.said


def test_new_mutants(bench: Bench) -> None:
    for number in range(SHORT):
        read_case(make_case(number, seed=2), bench)


@pytest.mark.long
def test_many_new_mutants(tmp_path: Path) -> None:
    """In a process of its own, with a limit of memory; what was found is in its output."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "support.fuzzing.run"),
            *("--cases", str(LONG), "--seed", "3", "--place", str(tmp_path)),
        ],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{LONG} mutants" in done.stdout
    assert len(json.loads((tmp_path / "behaviours.json").read_text())) > 300


def test_a_finding_is_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The readers' errors are not swallowed by the test itself."""
    from support.fuzzing import readers

    def fail(*_: object, **__: object) -> None:
        raise KeyError("no error of imig")

    monkeypatch.setattr(readers, "features_from_bytes", fail)
    with pytest.raises(KeyError):
        read_case(Case("features", b""), bench)

    def write(*_: object, **__: object) -> None:
        (bench.root / "written").write_text("by a reader")
        raise ImigError("and then it fails")

    monkeypatch.setattr(readers, "features_from_bytes", write)
    with pytest.raises(AssertionError, match="opened for writing"):
        read_case(Case("features", b""), bench)

"""`make bench` in small, and the page that its figures are written into."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.suite.__main__ import part_names
from benchmarks.suite.measuring import measure_apart
from benchmarks.suite.page import PAGE, fill_page, main, marked_parts
from benchmarks.suite.rows import Bar

REPOSITORY = Path(__file__).parents[1]


WHOLE_PROGRAMS = ("small_build", "training_beside_load")
"""Parts that run builds and trainings, which have tests of their own."""


@pytest.mark.long
@pytest.mark.parametrize(
    "parts",
    [
        [part for part in part_names() if part not in WHOLE_PROGRAMS],
        WHOLE_PROGRAMS,
    ],
    ids=["in one process", "whole programs"],
)
def test_every_part_runs_in_small(tmp_path: Path, parts: Sequence[str]) -> None:
    """One process, as `make bench` has it: importing libraries is most of what this takes."""
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.suite", *parts, "--small", "--json", str(file)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["rows"]
    # the page finds a part's rows by its module's name
    assert {row["part"].replace(" ", "_") for row in rows} == set(parts)
    for row in rows:
        # Not their signs: some are differences of two times, which a busy machine turns around.
        assert all(math.isfinite(row[name]) for name in ("ours", "theirs", "ratio")), row


def test_a_part_in_a_process_of_its_own() -> None:
    assert {row.part for row in measure_apart("tabletop", small=True)} == {"tabletop"}


def report(*rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "imig": "1.2.3",
        "date": "2030-01-02",
        "small": False,
        "machine": {"cores": 2, "processor": "Abacus", "python": "3.11"},
        "rows": list(rows),
    }


def row(part: str, *, case: str = "small things", ours: float = 1234.5) -> dict[str, Any]:
    return {
        "part": part,
        "case": case,
        "unit": "ms",
        "ours": ours,
        "theirs": 0.0123,
        "against": "peer: somebody",
        "ratio": 2.5,
        "bar": {"at_least": 2, "at_most": None},
        "verdict": "holds",
    }


TEXT = """# Title
<!-- machine: begin -->
yesterday
<!-- machine: end -->
between
<!-- first: begin -->
<!-- first: end -->
<!-- second: begin -->
| yesterday | 3 |
<!-- second: end -->
after
"""


def test_figures_come_between_the_markers_and_nothing_else_changes() -> None:
    filled = fill_page(TEXT, report(row("first"), row("first", case="large things", ours=5)))
    assert filled.startswith(
        "# Title\n<!-- machine: begin -->\nMeasured on 2030-01-02 with imig 1."
    )
    assert "| small things | 1,234 | 0.0123 | ms | peer: somebody | 2.50 | ≥ 2 | holds |" in filled
    assert "| large things | 5 |" in filled
    assert "yesterday" not in filled, "no figure of an older run stays"
    assert "\nbetween\n<!-- first: begin -->\n| case |" in filled
    assert (
        "<!-- second: begin -->\nNot measured in the last run.\n<!-- second: end -->\nafter\n"
        in filled
    )
    assert fill_page(filled, report(row("first"))) == fill_page(TEXT, report(row("first")))


def test_a_part_without_a_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="no markers for third"):
        fill_page(TEXT, report(row("third")))


def test_the_command_fills_the_file(tmp_path: Path) -> None:
    page, figures = tmp_path / "page.md", tmp_path / "figures.json"
    page.write_text(TEXT)
    figures.write_text(json.dumps(report(row("second"))))
    assert main(["--json", str(figures), "--page", str(page)]) == 0
    assert page.read_text() == fill_page(TEXT, report(row("second")))


def test_the_page_has_a_section_for_every_part() -> None:
    named = marked_parts(PAGE.read_text(encoding="utf-8"))
    assert len(named) == len(set(named))
    assert set(part_names()) <= set(named)


def test_bars() -> None:
    assert Bar(at_least=2).holds(2.0)
    assert not Bar(at_least=2).holds(1.9)
    assert Bar(at_most=1.2).holds(1.2)
    assert not Bar(at_most=1.2).holds(1.3)

"""Real models look at pictures of known truth with one fault each: the right figures fall.

The pictures are those of `benchmarks/evaluator.py`, which has the table for more of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from benchmarks.evaluator import evaluate_planted
from benchmarks.evaluator_figures.scenes import make_scene

pytestmark = [pytest.mark.long, pytest.mark.model]

Rows = Mapping[str, Mapping[str, float]]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    scenes = [make_scene(number) for number in range(24)]
    results = evaluate_planted(scenes, tmp_path_factory.mktemp("planted"))
    assert next(iter(results.values())).cases >= 8
    return {
        row: {name: one.value or 0.0 for name, one in result.figures.items()}
        for row, result in results.items()
    }


def test_perfect_pictures_are_near_the_top(rows: Rows) -> None:
    true = rows["true pictures"]
    assert true["placed"] >= 0.95
    assert true["box_iou"] >= 0.85
    assert true["identity"] >= 0.75
    assert true["own_nearest"] >= 0.85


FAULTS = [
    ("one thing moved", "placed", 0.2, ["identity", "identity_found", "pixel_copying"]),
    ("two look-alikes swapped", "identity", 0.3, ["box_iou", "placed"]),
    ("two look-alikes swapped", "own_nearest", 0.3, ["placed"]),
    ("one thing recoloured", "identity", 0.1, ["pixel_copying"]),
    ("one thing missing", "placed", 0.2, ["identity_found", "own_nearest"]),
    ("one thing missing", "identity", 0.1, ["identity_found"]),
]


@pytest.mark.parametrize(
    ("row", "figure", "falls", "stay"), FAULTS, ids=[f"{one[0]}: {one[1]}" for one in FAULTS]
)
def test_a_fault_lowers_its_figure_and_leaves_the_others(
    rows: Rows, row: str, figure: str, falls: float, stay: list[str]
) -> None:
    true, faulty = rows["true pictures"], rows[row]
    assert true[figure] - faulty[figure] >= falls
    for name in stay:
        assert abs(true[name] - faulty[name]) <= 0.05, name


def test_pasted_references_are_more_like_themselves_than_the_truth_is(rows: Rows) -> None:
    true, pasted = rows["true pictures"], rows["references pasted in"]
    assert pasted["identity"] > true["identity"], "identity alone rewards pasting"
    assert pasted["pixel_copying"] - true["pixel_copying"] >= 0.15
    assert pasted["copying"] > true["copying"]
    assert abs(true["placed"] - pasted["placed"]) <= 0.05

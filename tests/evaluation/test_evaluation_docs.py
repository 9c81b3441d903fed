"""docs/evaluation.md has every figure, in the words in which it is declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from imig.evaluation.metrics import METRICS
from imig.evaluation.metrics.base import Measure

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"
FIGURES = [(name, one) for name, metric in METRICS.items() for one in metric.measures]


def row(metric: str, measure: Measure) -> str:
    """Of the table."""
    title = measure.title if not measure.percent else f"{measure.title}, %"
    return f"| `{metric}` | `{measure.name}` | {title} | {measure.unit} | {measure.meaning} |"


@pytest.mark.parametrize(
    ("metric", "measure"), FIGURES, ids=[measure.name for _, measure in FIGURES]
)
def test_the_page_has_the_figure(metric: str, measure: Measure) -> None:
    assert row(metric, measure) in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_page_has_no_other_figure() -> None:
    rows = {row(metric, measure) for metric, measure in FIGURES}
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if line.count("|") == 6 and line[:3] == "| `"} == rows

"""Figures as tables: for the screen, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imig.evaluation.metrics import MEASURES
from imig.evaluation.metrics.base import Measure
from imig.evaluation.result import EvaluationResult, FigureResult


def result_to_lines(result: EvaluationResult) -> Iterator[str]:
    """What a person wants to see at the end of an evaluation."""
    yield f"{result.pictures} pictures of {result.cases} cases"
    if result.missing:
        yield f"{len(result.missing)} cases have no picture; they are in no figure"
    for name, reason in result.unmeasured.items():
        yield f"{name} is not measured: {reason}"
    if result.leakage is not None:
        yield f"{len(result.leakage.cases)} of {result.cases} cases seen in training"
    yield from figures_to_markdown(result.figures)
    for group, figures in result.groups.items():
        yield f"{group}:"
        yield from figures_to_markdown(figures)


def figures_to_markdown(figures: Mapping[str, FigureResult]) -> Iterator[str]:
    """A row for each figure: value, interval, and of how many units."""
    width = max((len(name) for name in figures), default=0)
    yield f"| {'figure'.ljust(width)} |  value | 95% interval  |  units |"
    yield f"|{'-' * (width + 2)}|-------:|--------------:|-------:|"
    for name, figure in figures.items():
        measure = MEASURES[name]
        interval = (
            ""
            if figure.value is None
            else f"{_shown(figure.low, measure)} .. {_shown(figure.high, measure)}"
        )
        yield (
            f"| {name.ljust(width)} | {_shown(figure.value, measure):>6} | {interval:>13} "
            f"| {figure.units:>6} |"
        )


def _shown(value: float | None, measure: Measure) -> str:
    if value is None:
        return "-"
    return f"{value * 100:.2f}" if measure.percent else f"{value:.3f}"

"""Figures as tables: for the screen, and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from imig.evaluation.metrics import MEASURES
from imig.evaluation.metrics.base import Measure
from imig.evaluation.result import CellResult, EvaluationResult, FigureResult, TableResult


def result_to_lines(result: EvaluationResult) -> Iterator[str]:
    """What a person wants to see at the end of an evaluation."""
    yield f"{result.pictures} pictures of {result.cases} cases"
    if result.missing:
        yield f"{len(result.missing)} cases have no picture; they are in no figure"
    if result.unreadable:
        yield f"{len(result.unreadable)} pictures are damaged; they are in no figure"
    for name, reason in result.unmeasured.items():
        yield f"{name} is not measured: {reason}"
    if result.leakage is not None:
        yield f"{len(result.leakage.cases)} of {result.cases} cases seen in training"
    yield from figures_to_markdown(result.figures)
    if result.table is not None:
        yield ""
        yield from table_to_markdown(result.table)
        return
    for group, figures in result.groups.items():
        yield f"{group}:"
        yield from figures_to_markdown(figures)


def table_to_markdown(table: TableResult) -> Iterator[str]:
    """A benchmark's table as its paper prints it, then the same with intervals, then its notes."""
    yield f"{table.title}:"
    yield ""
    yield from _grid(table, _value)
    yield ""
    yield f"{table.confidence * 100:g}% intervals:"
    yield ""
    yield from _grid(table, _interval)
    for note in table.notes:
        yield ""
        yield note


def _grid(table: TableResult, shown: Callable[[CellResult, int], str]) -> Iterator[str]:
    titles = [one.title for one in table.columns]
    cells = [
        [shown(one.cells[part], one.decimals) for part in table.parts] for one in table.columns
    ]
    if table.parts_are == "columns":
        yield from _aligned(["", *table.parts], titles, cells)
    else:
        yield from _aligned(["", *titles], table.parts, list(zip(*cells, strict=True)))


def _aligned(
    head: Sequence[str], names: Sequence[str], rows: Sequence[Sequence[str]]
) -> Iterator[str]:
    """A Markdown table whose columns are also straight on the screen."""
    lines = [head, *([name, *row] for name, row in zip(names, rows, strict=True))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        first, *others = line
        fields = [one.rjust(width) for one, width in zip(others, widths[1:], strict=True)]
        yield f"| {' | '.join([first.ljust(widths[0]), *fields])} |"
        if number == 0:
            rules = [f"{'-' * (width + 1)}:" for width in widths[1:]]
            yield f"|{'|'.join(['-' * (widths[0] + 2), *rules])}|"


def _value(cell: CellResult, decimals: int) -> str:
    return "-" if cell.value is None else f"{cell.value:.{decimals}f}"


def _interval(cell: CellResult, decimals: int) -> str:
    if cell.value is None:
        return "-"
    return f"{cell.low:.{decimals}f} .. {cell.high:.{decimals}f}"


def figures_to_markdown(figures: Mapping[str, FigureResult]) -> Iterator[str]:
    """A row for each figure: value, interval, and of how many units."""
    rows = []
    for name, figure in figures.items():
        measure = MEASURES[name]
        low, high = _shown(figure.low, measure), _shown(figure.high, measure)
        interval = "" if figure.value is None else f"{low} .. {high}"
        rows.append([_shown(figure.value, measure), interval, str(figure.units)])
    yield from _aligned(["figure", "value", "95% interval", "units"], list(figures), rows)


def _shown(value: float | None, measure: Measure) -> str:
    if value is None:
        return "-"
    return f"{value * 100:.2f}" if measure.percent else f"{value:.3f}"

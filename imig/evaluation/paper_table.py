"""A benchmark's table as its paper prints it: columns made of figures, for parts of the cases.

A benchmark declares a `PaperTable` beside the reader of its files (`imig/evaluation/against/`):

    TABLE = PaperTable(
        title="LAMICBench++",
        columns=(
            Column(name="itc", title="ITC", of=("itc",), scale=100, meaning="..."),
            Column(name="aes", title="AES", of=("aesthetics",), scale=10, meaning="..."),
            Column(name="avg", title="AVG", of=("itc", "aes"), meaning="Mean of the others."),
        ),
        parts=(Part("fewer", groups=("fewer",)), Part("more", groups=("more",)), Part("all")),
    )

Every column of a part is computed from the same draws of its cases, so that a column made of others
has an interval, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from imig.evaluation.result import CellResult, ColumnResult, PictureResult, TableResult
from imig.evaluation.summary import Sample

if TYPE_CHECKING:
    from imig.evaluation.recipe import EvaluationRecipe

Floats = NDArray[np.float64]


def mean_of(values: Mapping[str, Floats]) -> Floats:
    """The mean of a column's figures, draw by draw; of one figure, itself."""
    mean: Floats = np.mean(list(values.values()), axis=0)
    return mean


@dataclass(frozen=True, kw_only=True)
class Column:
    """A figure of a table, made of figures of metrics or of columns before it."""

    name: str
    title: str
    """As the paper writes it."""
    of: tuple[str, ...]
    """Columns before this one, or figures (`imig.evaluation.metrics.MEASURES`), by name. A column
    hides a figure of the same name from those behind it; a column's values are scaled already."""
    meaning: str
    """In a sentence."""
    compute: Callable[[Mapping[str, Floats]], Floats] = mean_of
    """`of` -> this: (1 + draws,) each, of all cases and of each draw; NaN where there is none."""
    scale: float = 1.0
    """What comes out of `compute` is multiplied with it: 100 for a share that is printed in %."""
    decimals: int = 2
    empty: float | None = None
    """What a figure of `of` counts as in a part that has no unit of it, and in draws without one;
    None: the column has no value there. Figures that were not measured at all never count, nor do
    parts without a picture."""
    better: Literal["higher", "lower", "neither"] = "higher"


@dataclass(frozen=True)
class Part:
    """Cases that a table gives columns for."""

    title: str
    groups: tuple[str, ...] | None = None
    """Of these groups (`Case.group`); None: all cases, each unit counting the same."""


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """What a benchmark's papers print."""

    title: str
    """Of the benchmark."""
    columns: tuple[Column, ...]
    parts: tuple[Part, ...] = (Part("all"),)
    parts_are: Literal["rows", "columns"] = "rows"
    """How it is printed: columns stand side by side and parts below each other, or the reverse."""
    notes: tuple[str, ...] = ()
    """Sentences below the table: what has to be known to compare with printed figures."""


def fill(
    table: PaperTable, measured: Sequence[PictureResult], *, recipe: EvaluationRecipe
) -> TableResult:
    """A table's values and intervals, of these pictures."""
    figures = {name for one in measured for name in one.values}
    cells: dict[str, dict[str, CellResult]] = {one.name: {} for one in table.columns}
    for part in table.parts:
        own = [one for one in measured if part.groups is None or one.group in part.groups]
        sample = Sample(own, recipe=recipe)
        for name, values in _columns(table.columns, sample, figures=figures).items():
            cells[name][part.title] = _cell(values, sample)
    return TableResult(
        title=table.title,
        parts=[one.title for one in table.parts],
        parts_are=table.parts_are,
        columns=[
            ColumnResult(
                name=one.name,
                title=one.title,
                meaning=one.meaning,
                better=one.better,
                decimals=one.decimals,
                cells=cells[one.name],
            )
            for one in table.columns
        ],
        confidence=recipe.bootstrap.confidence,
        notes=list(table.notes),
    )


def _columns(
    columns: Sequence[Column], sample: Sample, *, figures: Collection[str]
) -> dict[str, Floats | None]:
    """Each column of one part: its value, then that of every draw; None: it has none.

    `figures` are those that were measured at all, in whatever part.
    """
    found: dict[str, Floats | None] = {}
    for column in columns:
        given: dict[str, Floats] = {}
        for name in column.of:
            values = found[name] if name in found else sample.means(name)
            if values is None and column.empty is not None and sample and name in figures:
                values = np.full(sample.draws + 1, column.empty)
            if values is not None:
                given[name] = (
                    values if column.empty is None else np.nan_to_num(values, nan=column.empty)
                )
        complete = len(given) == len(column.of)
        found[column.name] = column.scale * column.compute(given) if complete else None
    return found


def _cell(values: Floats | None, sample: Sample) -> CellResult:
    if values is None or not np.isfinite(values[0]):
        return CellResult(value=None, low=None, high=None)
    estimate = sample.bootstrap.estimate(values)
    return CellResult(value=estimate.value, low=estimate.low, high=estimate.high)

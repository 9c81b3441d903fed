"""Two evaluations of the same cases: by how much do they differ, and is that more than chance?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imig.errors import DataError, UsageError
from imig.evaluation.metrics import MEASURES
from imig.evaluation.metrics.base import Measure
from imig.evaluation.recipe import EvaluationRecipe
from imig.evaluation.result import EvaluationResult, PictureResult
from imig.evaluation.run import PICTURES_NAME
from imig.evaluation.summary import Sample
from imig.printable import shortened
from imig.regular_file import read_regular_file
from imig.schema import first_problem

MEANT = ("name", "seed", "bootstrap")
"""Keys of a recipe that do not change what is measured."""


class DifferenceResult(BaseModel):
    """A figure of two evaluations, over the cases that both have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    before: float
    after: float
    difference: float = Field(description="after - before")
    low: float = Field(description="Lower end of the paired bootstrap interval of the difference.")
    high: float
    better: float | None = Field(
        description="Share of the draws in which `after` is better; null where no end is better."
    )


class Comparison(BaseModel):
    """What `imig evaluate --compare` prints."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    before: str
    after: str
    cases: int
    confidence: float
    only_before: int = Field(description="Cases that the second evaluation lacks.")
    only_after: int
    drawing: dict[str, tuple[Any, Any]] = Field(
        description="How their pictures were drawn, where that differs."
    )
    figures: dict[str, DifferenceResult]


def compare_evaluations(before: Path, after: Path) -> Comparison:
    """Differences of all figures, with intervals over cases.

    Draws are paired: each has the same cases of both, so that what makes a case hard for both is no
    part of the difference.

    Parameters
    ----------
    before, after:
        `evaluation.json`, or its folder; `pictures.jsonl` is beside it.

    Raises
    ------
    UsageError
        They were not measured alike (recipe, models, cases), or have no case in common.
    DataError
        A file is missing or damaged.
    """
    one, two = (StoredEvaluation(path) for path in (before, after))
    _require_alike(one, two)
    common = one.cases & two.cases
    if not common:
        raise UsageError(f"{one.path} and {two.path} have no case in common")
    recipe = one.recipe
    samples = [
        Sample([p for p in which.pictures if p.case in common], recipe=recipe)
        for which in (one, two)
    ]
    figures = {}
    for name, measure in MEASURES.items():
        first, second = (sample.means(name) for sample in samples)
        if first is None or second is None:
            continue
        estimate = samples[0].bootstrap.estimate(second - first)
        figures[name] = DifferenceResult(
            before=float(first[0]),
            after=float(second[0]),
            difference=estimate.value,
            low=estimate.low,
            high=estimate.high,
            better=_share_better(second[1:] - first[1:], measure),
        )
    return Comparison(
        before=str(one.path),
        after=str(two.path),
        cases=len(common),
        confidence=recipe.bootstrap.confidence,
        only_before=len(one.cases - common),
        only_after=len(two.cases - common),
        drawing=_differing(one.result.drawing, two.result.drawing),
        figures=figures,
    )


def comparison_to_lines(comparison: Comparison) -> Iterator[str]:
    """A table; a star where the interval does not have 0 in it."""
    yield f"{comparison.cases} cases: {comparison.before} -> {comparison.after}"
    for name, (old, new) in comparison.drawing.items():
        yield f"{name}: {old} -> {new}"
    for count, place in (
        (comparison.only_before, comparison.before),
        (comparison.only_after, comparison.after),
    ):
        if count:
            yield f"{count} cases of {place} are left out: the other has no picture of them"
    width = max([len("figure"), *map(len, comparison.figures)])
    interval = f"{comparison.confidence:.0%} interval"
    yield (
        f"| {'figure'.ljust(width)} |  before |   after | difference | {interval:>18} |   better |"
    )
    yield f"|{'-' * (width + 2)}|--------:|--------:|-----------:|-------------------:|---------:|"
    for name, one in comparison.figures.items():
        measure = MEASURES[name]
        sure = "*" if one.low > 0 or one.high < 0 else ""
        between = f"{_signed(one.low, measure)} .. {_signed(one.high, measure)}"
        better = "" if one.better is None else f"{one.better:.1%}"
        yield (
            f"| {name.ljust(width)} | {_plain(one.before, measure):>7} "
            f"| {_plain(one.after, measure):>7} | {_signed(one.difference, measure) + sure:>10} "
            f"| {between:>18} | {better:>8} |"
        )
    yield "*: the interval is on one side of 0. better: share of the draws in which `after` is."


class StoredEvaluation:
    """An evaluation on disk: `evaluation.json`, or its folder, and the pictures beside it.

    Raises UsageError and DataError as `compare_evaluations`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / "evaluation.json" if path.is_dir() else path
        try:
            self.result = EvaluationResult.model_validate_json(read_regular_file(self.path))
            self.recipe = EvaluationRecipe.model_validate(self.result.recipe)
            lines = read_regular_file(self.path.parent / PICTURES_NAME).splitlines()
            self.pictures = [PictureResult.model_validate(_without_of(one)) for one in lines if one]
        except ValidationError as error:
            raise DataError(
                f"{self.path} is no result of this imig's evaluation: {first_problem(error)}",
                cure="evaluate the pictures again: `imig evaluate`",
            ) from error
        except OSError as error:
            raise UsageError(
                f"{error.filename or self.path} cannot be read: {error.strerror}",
                cure="give evaluation.json of an `imig evaluate` or `imig bench`; pictures.jsonl "
                "lies beside it",
            ) from error
        self.cases = {one.case for one in self.pictures}


def _without_of(line: bytes) -> dict[str, Any]:
    """A line of `pictures.jsonl`, but for the mark of what it was measured with."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = None
    return {k: v for k, v in values.items() if k != "of"} if isinstance(values, dict) else {}


def _require_alike(one: StoredEvaluation, two: StoredEvaluation) -> None:
    for what, old, new in (
        ("other settings", _measured_with(one.result), _measured_with(two.result)),
        ("other cases", _cases_of(one.result), _cases_of(two.result)),
    ):
        keys = _differing(old, new)
        if keys:
            key, (before, after) = next(iter(keys.items()))
            raise UsageError(
                f"{one.path} and {two.path} were measured with {what}, so their difference says "
                f"nothing of the pictures: {key} is {shortened(repr(before))} and "
                f"{shortened(repr(after))}",
                cure="evaluate both with the same recipe and the same cases",
            )


def _measured_with(result: EvaluationResult) -> dict[str, Any]:
    recipe = {key: one for key, one in result.recipe.items() if key not in MEANT}
    models = sorted(one.model_dump_json() for one in result.models)
    return {**recipe, "models": models, "imig": result.imig}


def _cases_of(result: EvaluationResult) -> dict[str, Any]:
    return {key: one for key, one in result.against.items() if key not in ("place", "limit")}


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = sorted({*old, *new})
    return {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}


def _share_better(differences: Any, measure: Measure) -> float | None:
    if measure.better == "neither":
        return None
    signed = differences if measure.better == "higher" else -differences
    return float(((signed > 0) + 0.5 * (signed == 0)).mean())


def _plain(value: float, measure: Measure) -> str:
    return f"{value * 100:.2f}" if measure.percent else f"{value:.3f}"


def _signed(value: float, measure: Measure) -> str:
    return f"{value * 100:+.2f}" if measure.percent else f"{value:+.3f}"

"""The table: a row a setting, its seeds, and by how much it differs from the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.ablation_figures.variants import VARIANTS, Variant
from imig.evaluation.compare import StoredEvaluation
from imig.evaluation.recipe import EvaluationRecipe
from imig.evaluation.result import PictureResult
from imig.evaluation.summary import Estimate, Sample

FIGURES: Final = {
    "placed": "in place",
    "box_iou": "mIoU",
    "identity": "identity",
    "identity_other": "to others",
    "own_nearest": "own is nearest",
    "pixel_copying": "pixel copying",
}
"""Of `imig evaluate`, that rows differ in; figure -> title."""


@dataclass(frozen=True)
class Row:
    """A setting, over its seeds."""

    title: str
    paper: str
    pooled: Mapping[str, Estimate]
    """Over the cases, each with the pictures of all seeds."""
    differences: Mapping[str, Estimate]
    """From the recipe, with the same draws of cases; seeds that both have. Of the recipe empty."""
    seeds: Mapping[int, Mapping[str, float]]


def make_rows(
    evaluations: Mapping[tuple[str, int], Path], *, limits: Mapping[str, Path]
) -> list[Row]:
    """Rows of the limits, and of the settings that were evaluated in the order of `VARIANTS`.

    Parameters
    ----------
    evaluations:
        (setting, seed) -> folder of its evaluation; all of the same cases.
    limits:
        Title -> folder of its evaluation.
    """
    read = {key: StoredEvaluation(folder) for key, folder in evaluations.items()}
    pictures = {key: one.pictures for key, one in read.items()}
    recipe = EvaluationRecipe.model_validate(next(iter(read.values())).result.recipe)
    rows = [_limit(title, folder, recipe=recipe) for title, folder in limits.items()]
    rows += [
        _row(variant, pictures, recipe=recipe)
        for variant in VARIANTS
        if any(name == variant.name for name, _ in pictures)
    ]
    return rows


def _limit(title: str, folder: Path, *, recipe: EvaluationRecipe) -> Row:
    pictures = StoredEvaluation(folder).pictures
    pooled = _estimates(Sample(pictures, recipe=recipe))
    return Row(title=title, paper="", pooled=pooled, differences={}, seeds={})


def _row(
    variant: Variant,
    pictures: Mapping[tuple[str, int], Sequence[PictureResult]],
    *,
    recipe: EvaluationRecipe,
) -> Row:
    seeds = sorted(seed for name, seed in pictures if name == variant.name)
    own = _pool(pictures, variant.name, seeds, recipe=recipe)
    shared = [seed for seed in seeds if (VARIANTS[0].name, seed) in pictures]
    differences: dict[str, Estimate] = {}
    if variant is not VARIANTS[0] and shared:
        mine = _pool(pictures, variant.name, shared, recipe=recipe)
        other = _pool(pictures, VARIANTS[0].name, shared, recipe=recipe)
        for name in FIGURES:
            first, second = mine.means(name), other.means(name)
            if first is not None and second is not None:
                differences[name] = mine.bootstrap.estimate(first - second)
    return Row(
        title=variant.title,
        paper=variant.paper,
        pooled=_estimates(own),
        differences=differences,
        seeds={
            seed: {
                name: one.value
                for name, one in _estimates(
                    _pool(pictures, variant.name, [seed], recipe=recipe)
                ).items()
            }
            for seed in seeds
        },
    )


def _pool(
    pictures: Mapping[tuple[str, int], Sequence[PictureResult]],
    name: str,
    seeds: Sequence[int],
    *,
    recipe: EvaluationRecipe,
) -> Sample:
    return Sample([one for seed in seeds for one in pictures[name, seed]], recipe=recipe)


def _estimates(sample: Sample) -> dict[str, Estimate]:
    means = {name: sample.means(name) for name in FIGURES}
    return {name: sample.bootstrap.estimate(one) for name, one in means.items() if one is not None}


def rows_to_markdown(rows: Sequence[Row]) -> str:
    """Pooled values with the ends of their intervals; below each row its difference and seeds."""
    lines = [
        f"| | paper | {' | '.join(FIGURES.values())} |",
        f"|---|---|{'---:|' * len(FIGURES)}",
    ]
    for row in rows:
        lines.append(f"| **{row.title}** | {row.paper} | {_cells(row.pooled, _with_interval)} |")
        if row.differences:
            lines.append(f"| less the recipe | | {_cells(row.differences, _signed)} |")
        for seed, values in row.seeds.items():
            shown = " | ".join(f"{values[name]:.3f}" if name in values else "" for name in FIGURES)
            lines.append(f"| seed {seed} | | {shown} |")
    return "\n".join(lines) + "\n"


def rows_to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The same with all digits."""
    return [
        {
            "row": row.title,
            "paper": row.paper,
            "pooled": {name: vars(one) for name, one in row.pooled.items()},
            "differences": {name: vars(one) for name, one in row.differences.items()},
            "seeds": {str(seed): dict(values) for seed, values in row.seeds.items()},
        }
        for row in rows
    ]


def _cells(estimates: Mapping[str, Estimate], show: Any) -> str:
    return " | ".join(show(estimates[name]) if name in estimates else "" for name in FIGURES)


def _with_interval(one: Estimate) -> str:
    return f"**{one.value:.3f}** ({one.low:.3f} .. {one.high:.3f})"


def _signed(one: Estimate) -> str:
    return f"{one.value:+.3f} ({one.low:+.3f} .. {one.high:+.3f})"

"""Read recipes of evaluations from disk, and say where and how they are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from imig.errors import UsageError
from imig.evaluation.metrics import METRICS
from imig.evaluation.recipe import EvaluationRecipe
from imig.recipe.loading import FoundRecipe, read_recipe
from imig.recipe.resolving import resolve_value
from imig.recipe.shipped import shipped_recipes


def default_recipe(kind: str) -> str:
    """Of a benchmark the recipe that measures what its paper prints, else `evaluate`."""
    return kind if kind in shipped_recipes() else "evaluate"


def load_evaluation_recipe(
    name_or_path: str | Path, *, overrides: Sequence[str] = ()
) -> FoundRecipe[EvaluationRecipe]:
    """Read a recipe and apply `--set` overrides; errors as those of `imig.recipe.load_recipe`."""
    found = read_recipe(EvaluationRecipe, name_or_path, overrides=overrides, blocks=METRICS)
    recipe = resolve_value(found.recipe, "", weights=found.recipe.models, where=found.where)
    recipe = recipe.model_copy(update={"models": None, "tiny": {}})
    if all(getattr(recipe, name) is None for name in METRICS):
        raise UsageError(
            f"{found.path} measures nothing",
            cure=f"give it a block of a metric: {', '.join(METRICS)}",
        )
    return replace(found, recipe=recipe)

"""Read recipes of evaluations from disk, and say where and how they are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imig.errors import UsageError
from imig.evaluation.metrics import METRICS
from imig.evaluation.recipe import EvaluationRecipe
from imig.recipe.reading import (
    apply_overrides,
    parse_override,
    place_of,
    read_document,
    settled_values,
    validate_recipe,
)
from imig.recipe.resolving import apply_tiny, resolve_value
from imig.recipe.shipped import find_recipe
from imig.recipe.yaml_lines import KeyPath


@dataclass(frozen=True)
class LoadedEvaluationRecipe:
    """A recipe, and where each of its keys came from."""

    recipe: EvaluationRecipe
    path: Path
    lines: Mapping[KeyPath, int]
    overrides: Mapping[KeyPath, str]

    def where(self, key_path: str) -> str:
        """``pipelines/evaluate.yaml:14``, or the `--set` that the key is from."""
        key: KeyPath = tuple(key_path.split("."))
        return place_of(key, path=self.path, lines=self.lines, overrides=self.overrides)


def load_evaluation_recipe(
    name_or_path: str | Path, *, overrides: Sequence[str] = ()
) -> LoadedEvaluationRecipe:
    """Read a recipe and apply `--set` overrides; errors as those of `imig.recipe.load_recipe`."""
    path = find_recipe(str(name_or_path))
    document = read_document(path)
    raw = dict(document.value)
    for name in METRICS:
        # `clip:` with nothing behind it means the metric with its defaults; `clip: null` removes it
        if (name,) in document.bare:
            raw[name] = {}
    settings = [parse_override(text) for text in overrides]
    origins = apply_tiny(raw, settings, path=path, lines=document.lines)
    origins |= apply_overrides(raw, settings)
    values = settled_values(dict(document.value), raw, EvaluationRecipe)
    recipe = validate_recipe(
        EvaluationRecipe, values, path=path, lines=document.lines, origins=origins
    )
    loaded = LoadedEvaluationRecipe(recipe, path, document.lines, origins)
    resolved = resolve_value(recipe, "", weights=recipe.models, where=loaded.where)
    resolved = resolved.model_copy(update={"models": None, "tiny": {}})
    if all(getattr(resolved, name) is None for name in METRICS):
        raise UsageError(
            f"{path} measures nothing",
            cure=f"give it a block of a metric: {', '.join(METRICS)}",
        )
    return LoadedEvaluationRecipe(resolved, path, document.lines, origins)

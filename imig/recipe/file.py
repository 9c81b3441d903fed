"""Read recipes of builds from disk, and say where and how they are wrong.

The meaning of the keys is in `imig.recipe.root`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imig.recipe.extra import stages_from_outside
from imig.recipe.identity import recipe_to_sha256
from imig.recipe.loading import FoundRecipe, read_recipe
from imig.recipe.parts import StageConfig
from imig.recipe.resolving import resolve_value
from imig.recipe.root import STAGE_NAMES, Recipe


@dataclass(frozen=True)
class LoadedRecipe(FoundRecipe[Recipe]):
    """A build's recipe, and where each of its keys came from."""

    @property
    def sha256(self) -> str:
        return recipe_to_sha256(self.recipe)


def load_recipe(name_or_path: str | Path, *, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read a recipe and apply `--set` overrides.

    Parameters
    ----------
    name_or_path:
        A YAML file, or the name of a recipe that ships with imig (`shipped_recipes`).
    overrides:
        Texts ``a.b=value``. Where the key wants text, the value is that, from the first to the last
        character (``null`` is none, where there may be none); elsewhere it is YAML. ``a.0=value``
        replaces the first of a list. ``filter=null`` removes a stage, ``models=tiny`` sets the
        weights of every model and applies the recipe's block `tiny` before the others.

    Raises
    ------
    UsageError
        When there is no such recipe or something in it is wrong.
    """
    found = read_recipe(
        Recipe, name_or_path, overrides=overrides, blocks=(*STAGE_NAMES, "duplicates")
    )
    configs = stages_from_outside(found.recipe, found.where)
    recipe = _resolve(found.recipe, configs, found.where)
    return LoadedRecipe(recipe, found.path, found.lines, found.overrides)


def _resolve(recipe: Recipe, configs: Sequence[StageConfig], where: Callable[[str], str]) -> Recipe:
    """Apply `models`, forget what has been applied, and expand ``~`` in paths.

    `configs` are the settings of the stages from outside, which are stored with their defaults.
    """
    resolved = resolve_value(recipe, "", weights=recipe.models, where=where)
    assert isinstance(resolved, Recipe)
    extra = tuple(
        given.with_settings(
            resolve_value(config, f"extra.{number}", weights=recipe.models, where=where)
        )
        for number, (given, config) in enumerate(zip(recipe.extra, configs, strict=True))
    )
    return resolved.model_copy(update={"models": None, "tiny": {}, "extra": extra})

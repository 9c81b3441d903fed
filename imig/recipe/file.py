"""Read recipes of builds from disk, and say where and how they are wrong.

The meaning of the keys is in `imig.recipe.root`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imig.recipe.extra import stages_from_outside
from imig.recipe.identity import recipe_to_sha256
from imig.recipe.parts import StageConfig
from imig.recipe.reading import (
    apply_overrides,
    parse_override,
    place_of,
    read_document,
    settled_values,
    validate_recipe,
)
from imig.recipe.resolving import apply_tiny, resolve_value
from imig.recipe.root import STAGE_NAMES, Recipe
from imig.recipe.shipped import find_recipe
from imig.recipe.yaml_lines import KeyPath


@dataclass(frozen=True)
class LoadedRecipe:
    """A build's recipe, and where each of its keys came from."""

    recipe: Recipe
    path: Path
    lines: Mapping[KeyPath, int]
    overrides: Mapping[KeyPath, str]
    """Key path -> the text of the `--set` that gave it."""

    def where(self, key_path: str) -> str:
        """``pipelines/demo.yaml:14``, or ``--set ground.nms_iou=0.5`` where that is the origin."""
        key: KeyPath = tuple(key_path.split("."))
        return place_of(key, path=self.path, lines=self.lines, overrides=self.overrides)

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
    path = find_recipe(str(name_or_path))
    document = read_document(path)
    raw = dict(document.value)
    for stage in (*STAGE_NAMES, "duplicates"):
        # `crop:` with nothing behind it means the stage with its defaults; `crop: null` removes it.
        if (stage,) in document.bare:
            raw[stage] = {}
    settings = [parse_override(text) for text in overrides]
    origins = apply_tiny(raw, settings, path=path, lines=document.lines)
    origins |= apply_overrides(raw, settings)
    values = settled_values(dict(document.value), raw, Recipe)
    recipe = validate_recipe(Recipe, values, path=path, lines=document.lines, origins=origins)
    loaded = LoadedRecipe(recipe=recipe, path=path, lines=document.lines, overrides=origins)
    configs = stages_from_outside(recipe, loaded.where)
    return replace(loaded, recipe=_resolve(recipe, configs, loaded.where))


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

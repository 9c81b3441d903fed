"""Reads a recipe of any kind (build, evaluation, training), and keeps where each key came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel

from imig.recipe.reading import (
    apply_overrides,
    parse_override,
    place_of,
    read_document,
    settled_values,
    validate_recipe,
)
from imig.recipe.resolving import apply_tiny
from imig.recipe.shipped import find_recipe
from imig.recipe.yaml_lines import KeyPath

RecipeT = TypeVar("RecipeT", bound=BaseModel)


@dataclass(frozen=True)
class FoundRecipe(Generic[RecipeT]):
    """A recipe, and where each of its keys came from."""

    recipe: RecipeT
    path: Path
    lines: Mapping[KeyPath, int]
    overrides: Mapping[KeyPath, str]
    """Key path -> the text of the `--set` that gave it."""

    def where(self, key_path: str) -> str:
        """``pipelines/demo.yaml:14``, or ``--set ground.nms_iou=0.5`` where that is the origin."""
        key: KeyPath = tuple(key_path.split("."))
        return place_of(key, path=self.path, lines=self.lines, overrides=self.overrides)


def read_recipe(
    kind: type[RecipeT],
    name_or_path: str | Path,
    *,
    overrides: Sequence[str] = (),
    blocks: Iterable[str] = (),
) -> FoundRecipe[RecipeT]:
    """A recipe as its file and `--set` overrides say, `tiny` applied, and nothing else resolved.

    Parameters
    ----------
    kind:
        What the keys may be.
    blocks:
        Keys for which nothing behind the colon (`crop:`) means the block with its defaults; `crop:
        null` removes it.

    Raises
    ------
    UsageError
        When there is no such recipe or something in it is wrong.
    """
    path = find_recipe(str(name_or_path))
    document = read_document(path)
    raw = dict(document.value)
    raw.update({name: {} for name in blocks if (name,) in document.bare})
    settings = [parse_override(text) for text in overrides]
    origins = apply_tiny(raw, settings, path=path, lines=document.lines)
    origins |= apply_overrides(raw, settings)
    values = settled_values(dict(document.value), raw, kind)
    recipe = validate_recipe(kind, values, path=path, lines=document.lines, origins=origins)
    return FoundRecipe(recipe, path, document.lines, origins)

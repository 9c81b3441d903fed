"""Read recipes of trainings from disk, and say where and how they are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imig.paths import input_path
from imig.recipe.reading import (
    apply_overrides,
    located,
    parse_override,
    place_of,
    read_document,
    settled_values,
    validate_recipe,
)
from imig.recipe.shipped import find_recipe
from imig.recipe.yaml_lines import KeyPath
from imig.training.recipe import TrainRecipe


def load_training_recipe(name_or_path: str | Path, *, overrides: Sequence[str] = ()) -> TrainRecipe:
    """Read a training recipe and apply `--set` overrides; errors as those of `load_recipe`."""
    path = find_recipe(str(name_or_path))
    document = read_document(path)
    raw = dict(document.value)
    origins = apply_overrides(raw, [parse_override(text) for text in overrides])
    values = settled_values(dict(document.value), raw, TrainRecipe)
    recipe = validate_recipe(TrainRecipe, values, path=path, lines=document.lines, origins=origins)
    if recipe.adapter.start is not None:
        # It is opened when the model is there, which may take minutes.
        where = place_of(("adapter", "start"), path=path, lines=document.lines, overrides=origins)
        located(recipe.adapter.start, input_path, where)
    return recipe


def place_in_training_recipe(
    name_or_path: str | Path, key_path: str, *, overrides: Sequence[str] = ()
) -> str:
    """Where a key stands: ``pipelines/train-tiny.yaml:13``, or ``--set adapter.rank=8``."""
    path = find_recipe(str(name_or_path))
    document = read_document(path)
    parsed = [parse_override(text) for text in overrides]
    origins = apply_overrides(dict(document.value), parsed)
    key: KeyPath = tuple(key_path.split("."))
    return place_of(key, path=path, lines=document.lines, overrides=origins)

"""Read recipes of trainings from disk, and say where and how they are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imig.paths import input_path
from imig.recipe.loading import read_recipe
from imig.recipe.reading import located
from imig.training.recipe import TrainRecipe


def load_training_recipe(name_or_path: str | Path, *, overrides: Sequence[str] = ()) -> TrainRecipe:
    """Read a training recipe and apply `--set` overrides; errors as those of `load_recipe`."""
    found = read_recipe(TrainRecipe, name_or_path, overrides=overrides)
    if found.recipe.adapter.start is not None:
        # It is opened when the model is there, which may take minutes.
        located(found.recipe.adapter.start, input_path, found.where("adapter.start"))
    return found.recipe


def place_in_training_recipe(
    name_or_path: str | Path, key_path: str, *, overrides: Sequence[str] = ()
) -> str:
    """Where a key stands: ``pipelines/train-tiny.yaml:13``, or ``--set adapter.rank=8``."""
    return read_recipe(TrainRecipe, name_or_path, overrides=overrides).where(key_path)

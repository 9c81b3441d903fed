"""What `imig generate` draws with: the settings of a recipe, or those that an adapter carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imig.contextgen.adapter import read_settings
from imig.contextgen.generate import GenerateSettings
from imig.contextgen.settings import AttentionConfig
from imig.errors import DataError, UsageError
from imig.models.weights import TINY
from imig.recipe_file import load_training_recipe
from imig.training.recipe import TrainRecipe

DEFAULT_RECIPE = "train-tiny"
FULL_SIZE_RECIPE = "train-kontext"


class _CarriedData(BaseModel):
    target_width: int = Field(gt=0)
    reference_side: int = Field(gt=0)
    instruction: str


class _Carried(BaseModel):
    """In an adapter's file. Keys of a later imig are passed over, but for those of `attention`:
    whoever does not know them would draw with another network.
    """

    model_config = ConfigDict(frozen=True)

    weights: str
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    attention: AttentionConfig
    data: _CarriedData
    guidance: float = 1.0
    sampling_steps: int = Field(default=28, gt=0)


def carried_settings(recipe: TrainRecipe) -> dict[str, Any]:
    """JSON values for the adapter's file: what `find_settings` must know of its training."""
    carried = _Carried(
        weights=recipe.model.weights,
        dtype=recipe.model.dtype,
        attention=recipe.attention,
        data=_CarriedData(
            target_width=recipe.data.target_width,
            reference_side=recipe.data.reference_side,
            instruction=recipe.data.instruction,
        ),
        guidance=recipe.objective.guidance,
        sampling_steps=recipe.watch.sampling_steps,
    )
    return {"recipe": recipe.name, **carried.model_dump(mode="json")}


def find_settings(
    *,
    adapter: Path | None = None,
    recipe: str | None = None,
    weights: str | None = None,
    overrides: Sequence[str] = (),
    steps: int | None = None,
    guidance: float | None = None,
) -> GenerateSettings:
    """The settings to draw with.

    They are the recipe's where one is given, else those that the adapter file carries, else those
    of `train-tiny` (of `train-kontext` when `weights` are not tiny).

    Parameters
    ----------
    adapter:
        A file of `imig.contextgen.adapter.save_adapter`, or of another tool.
    recipe:
        Name or path of a training recipe.
    weights:
        In the place of the base model that the settings name.
    overrides:
        Texts ``a.b=value`` on the recipe.
    steps, guidance:
        In the place of the settings' own.

    Raises
    ------
    UsageError
        When recipe or adapter is not there, or there are overrides and no recipe to override.
    DataError
        When the adapter file is damaged.
    """
    carried = {} if adapter is None else read_settings(adapter)
    if adapter is not None and recipe is None and carried:
        if overrides:
            raise UsageError(
                f"--set changes keys of a recipe, and {adapter} brings its own settings",
                cure="give the recipe too: --recipe train-tiny, for example",
            )
        found = _from_adapter(carried, adapter)
    else:
        if recipe is None:
            recipe = DEFAULT_RECIPE if weights in (None, TINY) else FULL_SIZE_RECIPE
        loaded = load_training_recipe(recipe, overrides=overrides)
        found = _from_carried(carried_settings(loaded), origin=f"recipe {loaded.name}")
    return replace(
        found,
        weights=weights or found.weights,
        steps=found.steps if steps is None else steps,
        guidance=found.guidance if guidance is None else guidance,
    )


def _from_adapter(carried: Mapping[str, Any], adapter: Path) -> GenerateSettings:
    try:
        return _from_carried(carried, origin=f"those that {adapter.name} carries")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{adapter} carries settings that this imig does not know: {key}: {first['msg']}",
            cure="give the recipe it was trained with: --recipe NAME",
        ) from error


def _from_carried(carried: Mapping[str, Any], *, origin: str) -> GenerateSettings:
    known = _Carried.model_validate(carried)
    return GenerateSettings(
        weights=known.weights,
        dtype=known.dtype,
        attention=known.attention,
        reference_side=known.data.reference_side,
        instruction=known.data.instruction,
        target_width=known.data.target_width,
        steps=known.sampling_steps,
        guidance=known.guidance,
        origin=origin,
    )

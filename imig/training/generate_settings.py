"""What `imig generate` draws with: the settings of a recipe, or those that an adapter carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imig.contextgen.adapter import read_settings
from imig.contextgen.generate import GenerateSettings
from imig.contextgen.presets import PRESETS, Preset
from imig.contextgen.settings import AttentionConfig
from imig.errors import DataError, UsageError
from imig.models.weights import TINY
from imig.schema import first_problem
from imig.training.recipe import TrainRecipe
from imig.training.recipe_file import load_training_recipe

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
    instruction: str | None = None,
    preset: str | None = None,
) -> GenerateSettings:
    """The settings to draw with.

    They are the recipe's where one is given, else those that the adapter file carries, else those
    of `train-tiny` (of `train-kontext` when `weights` are not tiny, or a preset is named without
    weights). A preset goes before all of these, and what the call itself names before the preset.

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
    steps, guidance, instruction:
        In the place of the settings' own.
    preset:
        Name of one of `imig.contextgen.presets.PRESETS`.

    Raises
    ------
    UsageError
        When recipe or adapter is not there, there are overrides and no recipe to override, or the
        instruction has no place for the caption.
    DataError
        When the adapter file is damaged.
    """
    carried = {} if adapter is None else read_settings(adapter)
    is_guess = recipe is None and preset is None and not carried
    if adapter is not None and recipe is None and carried:
        if overrides:
            raise UsageError(
                f"--set changes keys of a recipe, and {adapter} brings its own settings",
                cure="give the recipe too: --recipe train-tiny, for example",
            )
        found = _from_adapter(carried, adapter)
    else:
        if recipe is None:
            # Published weights are of the full size.
            small = weights == TINY or (weights is None and preset is None)
            recipe = DEFAULT_RECIPE if small else FULL_SIZE_RECIPE
        loaded = load_training_recipe(recipe, overrides=overrides)
        found = _from_carried(carried_settings(loaded), origin=f"recipe {loaded.name}")
    if preset is not None:
        found = _with_preset(found, _preset(preset), overrides=overrides)
    if instruction is not None and "{caption}" not in instruction:
        raise UsageError(
            f"the instruction has no {{caption}} in it: {instruction!r}",
            cure="write {caption} where the layout's caption belongs",
        )
    return replace(
        found,
        is_guess=is_guess,
        instruction=found.instruction if instruction is None else instruction,
        weights=weights or found.weights,
        steps=found.steps if steps is None else steps,
        guidance=found.guidance if guidance is None else guidance,
    )


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        raise UsageError(f"there is no preset {name!r}", cure=f"one of {', '.join(PRESETS)}")
    return PRESETS[name]


def _with_preset(
    found: GenerateSettings, preset: Preset, *, overrides: Sequence[str]
) -> GenerateSettings:
    """The preset's settings, but for what a `--set` says."""
    keys = {one.partition("=")[0].strip() for one in overrides}

    def said(key: str) -> bool:
        return key in keys or key.partition(".")[0] in keys

    if said("data.reference_side"):
        preset = replace(preset, reference_sides=None)
    fields = [name for name in AttentionConfig.model_fields if said(f"attention.{name}")]
    return replace(
        found,
        attention=preset.attention_over(found.attention, but=fields),
        steps=found.steps if said("watch.sampling_steps") else preset.steps,
        guidance=found.guidance if said("objective.guidance") else preset.guidance,
        origin=f"preset {preset.name} over {found.origin}",
        preset=preset,
    )


def _from_adapter(carried: Mapping[str, Any], adapter: Path) -> GenerateSettings:
    try:
        return _from_carried(carried, origin=f"those that {adapter.name} carries")
    except ValidationError as error:
        raise DataError(
            f"{adapter} carries settings that this imig does not know: {first_problem(error)}",
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

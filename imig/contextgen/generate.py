"""From pictures of a layout to pictures by the model: what `imig generate` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from numpy.typing import NDArray
from pydantic import ValidationError
from transformers.utils import logging

from imig.contextgen.adapter import load_adapter, read_settings
from imig.contextgen.batch import make_batch
from imig.contextgen.components import (
    LatentCodec,
    TextEncoders,
    find_components,
    load_transformer,
)
from imig.contextgen.encode import encode_pictures
from imig.contextgen.model import ContextGen
from imig.contextgen.sample import EncodedSample, PictureSample
from imig.contextgen.sampling import sample
from imig.contextgen.settings import AttentionConfig
from imig.errors import DataError, UsageError
from imig.models.device import choose_device, choose_dtype, make_deterministic
from imig.models.weights import TINY
from imig.recipe_file import load_training_recipe, shipped_recipes
from imig.training.recipe import DataConfig, TrainRecipe

DEFAULT_RECIPE = "train-tiny"
FULL_SIZE_RECIPE = "train-kontext"


@dataclass(frozen=True)
class GenerateSettings:
    """What of a training is needed to draw with what it made."""

    weights: str
    """`tiny`, a local path, or a hub id."""
    attention: AttentionConfig
    reference_side: int
    instruction: str
    target_width: int
    """Pixels; the width of the pictures in training."""
    steps: int
    guidance: float
    dtype: str
    origin: str
    """Where all that is from, in words."""


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
    if recipe is None and carried:
        assert adapter is not None
        if overrides:
            raise UsageError(
                f"--set changes keys of a recipe, and {adapter} brings its own settings",
                cure="give the recipe too: --recipe train-tiny, for example",
            )
        found = _carried_settings(carried, adapter)
    else:
        if recipe is None:
            recipe = DEFAULT_RECIPE if weights in (None, TINY) else FULL_SIZE_RECIPE
        loaded = load_training_recipe(recipe, overrides=overrides)
        found = _recipe_settings(loaded, origin=f"recipe {loaded.name}")
    return replace(
        found,
        weights=weights or found.weights,
        steps=found.steps if steps is None else steps,
        guidance=found.guidance if guidance is None else guidance,
    )


def generate(
    pictures: PictureSample,
    *,
    settings: GenerateSettings,
    seeds: Sequence[int],
    adapter: Path | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] = lambda seed, step: None,
) -> Iterator[NDArray[np.uint8]]:
    """One picture after the other, (h, w, 3) as large as the layout.

    A seed's picture is the same whatever other seeds are drawn with it. Text encoders and
    transformer are in memory one after the other.

    Parameters
    ----------
    pictures:
        A target in it is not looked at.
    adapter:
        LoRA file; None: the base model alone.
    device:
        `auto`, `cpu`, `cuda`, ...
    progress:
        Called with the seed and the number of steps done.

    Raises
    ------
    UsageError
        The weights are not on this disk, the adapter is none of theirs, or the device is not there.
    DataError
        A reference has an empty mask, or a file is damaged.
    """
    place = choose_device(device)
    dtype = choose_dtype(settings.dtype, place)
    make_deterministic()
    # Its bars count tensors of the weights; `progress` counts steps.
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    folder = find_components(settings.weights).path
    codec = LatentCodec.load(folder, dtype, place)
    encoded = _encode(pictures, folder=folder, codec=codec, dtype=dtype, device=place)
    transformer = load_transformer(folder, dtype, place)
    if adapter is not None:
        load_adapter(transformer, adapter, trainable=False)
    model = ContextGen(transformer, attention=settings.attention).eval()
    batch = make_batch([encoded], attention=settings.attention).to(place, dtype)
    height, width = pictures.layout.shape[:2]
    for seed in seeds:
        latents = sample(
            model,
            batch,
            seeds=[seed],
            steps=settings.steps,
            guidance=settings.guidance,
            scheduler=_scheduler(folder),
            progress=partial(progress, seed),
        )
        yield codec.decode(latents, height, width)[0].cpu().numpy()


def _encode(
    pictures: PictureSample,
    *,
    folder: Path,
    codec: LatentCodec,
    dtype: torch.dtype,
    device: torch.device,
) -> EncodedSample:
    # The encoders leave the memory with this function: FLUX's T5 has 9.5 GB in bfloat16.
    text = TextEncoders.load(folder, dtype, device)
    [encoded] = encode_pictures([pictures], text=text, codec=codec)
    return encoded


def _scheduler(folder: Path) -> FlowMatchEulerDiscreteScheduler | None:
    """How the weights want their times spaced; None: nothing is said about it."""
    if not (folder / "scheduler" / "scheduler_config.json").is_file():
        return None
    kind: Any = FlowMatchEulerDiscreteScheduler
    scheduler: FlowMatchEulerDiscreteScheduler = kind.from_pretrained(
        folder / "scheduler", local_files_only=True
    )
    return scheduler


def _recipe_settings(recipe: TrainRecipe, *, origin: str) -> GenerateSettings:
    return GenerateSettings(
        weights=recipe.model.weights,
        attention=recipe.attention,
        reference_side=recipe.data.reference_side,
        instruction=recipe.data.instruction,
        target_width=recipe.data.target_width,
        steps=recipe.watch.sampling_steps,
        guidance=recipe.objective.guidance,
        dtype=recipe.model.dtype,
        origin=origin,
    )


def _carried_settings(carried: dict[str, Any], adapter: Path) -> GenerateSettings:
    """Of an adapter's file; what it does not say is as in the recipe of that name, if it ships."""
    name = str(carried.get("recipe", ""))
    shipped = load_training_recipe(name) if name in shipped_recipes() else TrainRecipe(name="none")
    try:
        data = {**shipped.data.model_dump(), **carried.get("data", {})}
        known = {key: value for key, value in data.items() if key in DataConfig.model_fields}
        recipe = shipped.model_copy(
            update={
                "attention": AttentionConfig.model_validate(carried.get("attention", {})),
                "data": DataConfig.model_validate(known),
            }
        )
    except (ValidationError, TypeError) as error:
        raise DataError(
            f"{adapter} carries settings that imig does not know: {error}",
            cure="give the recipe it was trained with: --recipe NAME",
        ) from error
    found = _recipe_settings(recipe, origin=f"those that {adapter.name} carries")
    return replace(found, weights=str(carried.get("weights", found.weights)))

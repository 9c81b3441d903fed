"""Pictures of held-out layouts, by the base model with and without an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from imig.contextgen.adapter import load_adapter, read_settings
from imig.contextgen.components import (
    LatentCodec,
    TextEncoders,
    find_components,
    load_scheduler,
    load_transformer,
)
from imig.contextgen.drawing import draw
from imig.contextgen.encode import encode_pictures
from imig.contextgen.model import ContextGen
from imig.contextgen.sample import EncodedSample, PictureSample
from imig.contextgen.scene_layout import picture_seed
from imig.contextgen.settings import AttentionConfig
from imig.training.recipe import TrainRecipe

BATCH = 16

Picture = NDArray[np.uint8]


class Studio:
    """The base model's parts, and pictures by them."""

    def __init__(self, recipe: TrainRecipe, *, device: torch.device, dtype: torch.dtype) -> None:
        self._recipe, self._device, self._dtype = recipe, device, dtype
        self._folder = find_components(recipe.model.weights).path
        self._codec = LatentCodec.load(self._folder, dtype, device)

    def encode(self, pictures: Sequence[PictureSample]) -> list[EncodedSample]:
        """What the model reads of each sample."""
        text = TextEncoders.load(
            self._folder,
            self._dtype,
            self._device,
            text_length=self._recipe.attention.text_length,
        )
        return encode_pictures(pictures, text=text, codec=self._codec)

    def draw(self, samples: Sequence[EncodedSample], *, adapter: Path | None) -> list[Picture]:
        """One picture of each sample, (h, w, 3), from a noise that its id decides.

        Parameters
        ----------
        samples:
            Of one grid.
        adapter:
            None: the base model alone, which then sees what the recipe's model sees.
        """
        attention = self._recipe.attention
        transformer = load_transformer(self._folder, self._dtype, self._device)
        if adapter is not None:
            load_adapter(transformer, adapter, trainable=False)
            attention = AttentionConfig.model_validate(read_settings(adapter)["attention"])
        model = ContextGen(transformer, attention=attention).eval()
        scheduler = load_scheduler(self._folder)
        title = adapter.parent.name if adapter else "base"
        drawn: list[Picture] = []
        starts = range(0, len(samples), BATCH)
        for start in track(starts, title, transient=True, console=Console(stderr=True)):
            some = samples[start : start + BATCH]
            drawn += list(
                draw(
                    model,
                    some,
                    codec=self._codec,
                    scheduler=scheduler,
                    seeds=[picture_seed(one.id) for one in some],
                    steps=self._recipe.watch.sampling_steps,
                    guidance=self._recipe.objective.guidance,
                    dtype=self._dtype,
                )
            )
        return drawn

    def through_codec(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Pictures to latents and back: nothing that is drawn can be better."""
        back: list[Picture] = []
        for picture in pictures:
            height, width, _ = picture.shape
            tokens = self._codec.encode(torch.from_numpy(picture.copy())[None])
            back.append(self._codec.decode(tokens, height, width)[0].cpu().numpy())
        return back

"""From the pictures of a layout to pictures by the model: what `imig generate` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imig.contextgen.adapter import load_adapter
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
from imig.contextgen.presets import Preset
from imig.contextgen.sample import EncodedSample, PictureSample
from imig.contextgen.settings import AttentionConfig, TextLength
from imig.errors import DataError
from imig.models.device import choose_device, choose_dtype, make_deterministic


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
    """Of sampling."""
    guidance: float
    dtype: str
    """`auto`, or a name for `imig.models.device.choose_dtype`."""
    origin: str
    """Where these settings are from, in words."""
    is_guess: bool = False
    """Nothing said what to draw with: they are those of a default recipe."""
    preset: Preset | None = None
    """Whose way with captions and references is taken; its other settings are in these already."""

    def record(self, *, adapter: Path | None) -> dict[str, Any]:
        """JSON values for a picture's metadata: with what it was drawn."""
        return {
            "preset": None if self.preset is None else self.preset.name,
            "weights": self.weights,
            "adapter": None if adapter is None else adapter.name,
            "attention": self.attention.model_dump(mode="json"),
            "instruction": self.instruction,
            "reference_side": self.reference_side,
            "steps": self.steps,
            "guidance": self.guidance,
            "settings": self.origin,
        }


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
        A reference has an empty mask, a file is damaged, or the memory is too small.
    """
    place = choose_device(device)
    dtype = choose_dtype(settings.dtype, place)
    make_deterministic()
    folder = find_components(settings.weights).path
    with _enough_memory(place):
        codec = LatentCodec.load(folder, dtype, place)
        encoded = _encode(
            pictures,
            folder=folder,
            codec=codec,
            dtype=dtype,
            device=place,
            text_length=settings.attention.text_length,
        )
        transformer = load_transformer(folder, dtype, place)
        if adapter is not None:
            load_adapter(transformer, adapter, trainable=False)
        model = ContextGen(transformer, attention=settings.attention).eval()
    scheduler = load_scheduler(folder)
    for seed in seeds:
        with _enough_memory(place):
            [picture] = draw(
                model,
                [encoded],
                codec=codec,
                scheduler=scheduler,
                seeds=[seed],
                steps=settings.steps,
                guidance=settings.guidance,
                dtype=dtype,
                progress=partial(progress, seed),
            )
        yield picture


@contextmanager
def _enough_memory(device: torch.device) -> Iterator[None]:
    """Say of a device that is too small for the model, or for the picture, what to do."""
    try:
        yield
    except RuntimeError as error:
        # A GPU's error has a class of its own, a processor's only its words.
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise DataError(
            f"the memory of {device} is too small for this: {str(error).splitlines()[0]}",
            cure="a smaller --width, fewer references, or --device cpu",
        ) from error


def _encode(
    pictures: PictureSample,
    *,
    folder: Path,
    codec: LatentCodec,
    dtype: torch.dtype,
    device: torch.device,
    text_length: TextLength,
) -> EncodedSample:
    # The encoders leave the memory with this function: FLUX's T5 has 9.5 GB in bfloat16.
    text = TextEncoders.load(folder, dtype, device, text_length=text_length)
    [encoded] = encode_pictures([pictures], text=text, codec=codec)
    return encoded

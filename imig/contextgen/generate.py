"""From the pictures of a layout to pictures by the model: what `imig generate` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
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
from imig.contextgen.sample import EncodedSample, PictureSample, TextEmbedding
from imig.contextgen.settings import AttentionConfig
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
    studio = Studio(settings, adapter=adapter, device=device)
    [encoded] = studio.encode([pictures], studio.read_captions([pictures.caption]))
    for seed in seeds:
        [picture] = studio.draw([encoded], seeds=[seed], progress=partial(progress, seed))
        yield picture


class Studio:
    """The networks that draw, each in memory when it is needed.

    Text encoders and transformer are there one after the other, as long as all captions are read
    before the first picture is drawn.

    Parameters
    ----------
    adapter:
        LoRA file; None: the base model alone.
    device:
        `auto`, `cpu`, `cuda`, ...

    Raises
    ------
    UsageError
        The weights are not on this disk, or the device is not there.
    """

    def __init__(
        self, settings: GenerateSettings, *, adapter: Path | None, device: str = "auto"
    ) -> None:
        self.device = choose_device(device)
        self._dtype = choose_dtype(settings.dtype, self.device)
        make_deterministic()
        self._settings, self._adapter = settings, adapter
        self._folder = find_components(settings.weights).path
        self._scheduler = load_scheduler(self._folder)

    def read_captions(self, captions: Sequence[str]) -> Embeddings:
        """Embeddings of texts, which then need no encoder any more; in the CPU's memory."""
        texts = sorted(set(captions))
        with enough_memory(self.device):
            # They leave the memory with this function: FLUX's T5 has 9.5 GB in bfloat16.
            encoders = TextEncoders.load(
                self._folder,
                self._dtype,
                self.device,
                text_length=self._settings.attention.text_length,
            )
            # One by one: together they would depend on each other in the last digits.
            read = [one for text in texts for one in encoders.encode([text])]
        on_cpu = [TextEmbedding(one.tokens.cpu(), one.pooled.cpu()) for one in read]
        return Embeddings(dict(zip(texts, on_cpu, strict=True)))

    def encode(
        self, pictures: Sequence[PictureSample], captions: Embeddings
    ) -> list[EncodedSample]:
        """What the model reads of each sample; `captions` has all of theirs.

        Raises
        ------
        DataError
            A reference has an empty mask, or the memory is too small.
        """
        with enough_memory(self.device):
            return encode_pictures(pictures, text=captions, codec=self._codec)

    def draw(
        self,
        samples: Sequence[EncodedSample],
        *,
        seeds: Sequence[int],
        progress: Callable[[int], None] = lambda step: None,
    ) -> NDArray[np.uint8]:
        """Pictures (n, h, w, 3) of samples of one grid; `progress` gets the number of steps done.

        Raises
        ------
        UsageError
            The adapter is none of the weights.
        DataError
            A file is damaged, the memory is too small, or the network's output is no number.
        """
        with enough_memory(self.device):
            return draw(
                self._model,
                samples,
                codec=self._codec,
                scheduler=self._scheduler,
                seeds=seeds,
                steps=self._settings.steps,
                guidance=self._settings.guidance,
                dtype=self._dtype,
                progress=progress,
            )

    @cached_property
    def _codec(self) -> LatentCodec:
        return LatentCodec.load(self._folder, self._dtype, self.device)

    @cached_property
    def _model(self) -> ContextGen:
        transformer = load_transformer(self._folder, self._dtype, self.device)
        if self._adapter is not None:
            load_adapter(transformer, self._adapter, trainable=False)
        return ContextGen(transformer, attention=self._settings.attention).eval()


@dataclass(frozen=True)
class Embeddings:
    """Captions that were encoded before; stands in for `TextEncoders`."""

    of: Mapping[str, TextEmbedding]

    def encode(self, captions: Sequence[str]) -> list[TextEmbedding]:
        """An embedding a caption."""
        return [self.of[one] for one in captions]


class OutOfMemory(DataError):
    """The memory of a device is too small for a model, or for so many pictures at once."""


@contextmanager
def enough_memory(device: torch.device) -> Iterator[None]:
    """Say of a device that is too small for the model, or for the picture, what to do."""
    try:
        yield
    except RuntimeError as error:
        # A GPU's error has a class of its own, a processor's only its words.
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise OutOfMemory(
            f"the memory of {device} is too small for this: {str(error).splitlines()[0]}",
            cure="a smaller --width, fewer references, or --device cpu",
        ) from error

"""Family `open-clip`: CLIP models of open_clip_torch."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from imig.errors import UsageError
from imig.models.batched import Batched, ResolvedWeights, Runtime
from imig.models.family import Checkpoint, Family
from imig.models.images import as_rgb
from imig.models.libraries import inference_mode, open_clip, torch
from imig.models.unloadable import unloadable_reason
from imig.text import to_encodable

_PRECISIONS: Final = {
    "torch.float32": "fp32",
    # "pure" keeps no part in float32, so inputs of one dtype fit everywhere.
    "torch.bfloat16": "pure_bf16",
    "torch.float16": "pure_fp16",
}

TEXTS_KEPT: Final = 10_000
"""Features of texts that a model remembers: 20 MB at 512 dimensions."""


class OpenClip(Batched):
    """An `ImageTextScorer`.

    Weights are a folder (`open_clip_config.json`, the weights, and a tokenizer where the config
    names one), or a weight file with the architecture's name in the recipe's `config` ("ViT-B-32").
    """

    family: ClassVar[Family] = Family(
        name="open-clip",
        tasks=("score image and text",),
        library="open_clip_torch",
        tiny=True,
        # The order in which open_clip itself looks into a folder.
        weight_files=(
            "open_clip_model.safetensors",
            "open_clip_pytorch_model.safetensors",
            "open_clip_pytorch_model.bin",
            "*.safetensors",
        ),
        needs=("open_clip_config.json",),
        takes_file=True,
        checkpoints=(
            Checkpoint("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 605, "MIT"),
            Checkpoint("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", 3940, "MIT"),
            Checkpoint("timm/vit_large_patch14_clip_224.openai", 1710, "MIT"),
        ),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        super().__init__(weights, runtime)
        self._model, self._transform, self._tokenizer = _load(weights, runtime)
        self._embed_text = lru_cache(maxsize=TEXTS_KEPT)(self._embed_new_text)
        # (0, dimensions): no attribute says the dimensions for all of open_clip's architectures.
        self._none = self._embed_new_text("a")[:0]

    @inference_mode
    def embed_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """(n, dimensions) float32, L2-normalised."""
        parts = [self._none]
        for start in range(0, len(images), self._batch_size):
            batch = as_rgb(images[start : start + self._batch_size])
            pixels = torch.stack([self._transform(one) for one in batch])
            parts.append(_normalise(self._model.encode_image(pixels.to(self._device, self._dtype))))
        return np.concatenate(parts)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, dimensions) float32, L2-normalised, in the same space as the images.

        Nouns come again and again: the last `TEXTS_KEPT` texts are remembered. Each goes through
        the network alone, so that its feature does not depend on what was asked for before.
        """
        return np.concatenate([self._none, *map(self._embed_text, texts)])

    @inference_mode
    def _embed_new_text(self, text: str) -> NDArray[np.float32]:
        tokens = self._tokenizer([to_encodable(text)]).to(self._device)
        return _normalise(self._model.encode_text(tokens))


def _normalise(features: torch.Tensor) -> NDArray[np.float32]:
    normalised: NDArray[np.float32] = (
        torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
    )
    return normalised


def _load(weights: ResolvedWeights, runtime: Runtime) -> tuple[Any, Any, Any]:
    name: str
    pretrained: str | None
    if weights.path.is_dir():
        _require_found(weights)
        name, pretrained = f"local-dir:{weights.path}", None
    elif weights.config is not None and weights.config in open_clip.list_models():
        # Absolute: it takes a bare name for one of its own checkpoints.
        name, pretrained = weights.config, str(weights.path.absolute())
    else:
        raise UsageError(
            f"open-clip: {weights.path} is a file, and `config` ({weights.config}) does not name "
            "its architecture",
            cure="set the model's `config`, for example to ViT-B-32 (`open_clip.list_models()`)",
        )
    try:
        model, _, transform = open_clip.create_model_and_transforms(
            name,
            pretrained=pretrained,
            precision=_PRECISIONS[str(runtime.dtype)],
            device=runtime.device,
            weights_only=True,
        )
        tokenizer = open_clip.get_tokenizer(name)
    except (RuntimeError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise UsageError(
            f"open-clip: {weights.path} does not load: {unloadable_reason(error)}",
            cure="is it whole, and of the architecture that its config names?",
        ) from error
    return model.eval(), transform, tokenizer


def _require_found(weights: ResolvedWeights) -> None:
    """UsageError unless open_clip will read the folder's file that imig records.

    open_clip (3.3) looks for it by rules of its own, and goes on with random weights where it
    finds none.
    """
    found = open_clip.factory._find_checkpoint_in_dir(weights.path)
    if found is None or Path(found).name != weights.files[0].name:
        raise UsageError(
            f"open-clip: of {weights.path} the library would read "
            f"{Path(found).name if found else 'no file'}, not {weights.files[0].name}",
            cure="leave one weight file in the folder, as open_clip_model.safetensors",
        )

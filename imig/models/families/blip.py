"""Family `blip`: captions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Final

from PIL.Image import Image

from imig.models.batched import Batched, ResolvedWeights, Runtime
from imig.models.family import TRANSFORMERS_WEIGHTS, Checkpoint, Family
from imig.models.images import as_rgb, equal_batches
from imig.models.libraries import inference_mode, torch, transformers
from imig.models.pretrained import load_pretrained, load_processor, preprocess_images

# What a checkpoint's generation config leaves open; never sampling, so captions repeat.
_MAX_NEW_TOKENS: Final = 60


class Blip(Batched):
    """A `Captioner`. The checkpoint's generation config may ask for beams, never for sampling."""

    family: ClassVar[Family] = Family(
        name="blip",
        tasks=("caption",),
        library="transformers",
        tiny=True,
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=("config.json", "preprocessor_config.json|processor_config.json"),
        checkpoints=(
            Checkpoint("Salesforce/blip-image-captioning-base", 990, "BSD-3-Clause"),
            Checkpoint("Salesforce/blip-image-captioning-large", 1880, "BSD-3-Clause"),
        ),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        super().__init__(weights, runtime)
        self._model = load_pretrained(
            transformers.BlipForConditionalGeneration,
            weights,
            model_types=("blip",),
            device=runtime.device,
            dtype=runtime.dtype,
        )
        self._processor = load_processor(transformers.AutoProcessor, weights)

    @inference_mode
    def caption(self, images: Sequence[Image]) -> list[str]:
        """One caption an image, special tokens removed; may be empty."""
        pixels = preprocess_images(self._processor.image_processor, as_rgb(images))
        captions = [""] * len(images)
        for batch in equal_batches(
            [tuple(one.shape) for one in pixels], batch_size=self._batch_size
        ):
            tokens = self._model.generate(
                pixel_values=torch.stack([pixels[index] for index in batch]).to(
                    self._device, self._dtype
                ),
                do_sample=False,
                max_new_tokens=_MAX_NEW_TOKENS,
            )
            texts = self._processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)
            for index, text in zip(batch, texts, strict=True):
                # the tokenizer sets a space before each punctuation mark
                captions[index] = re.sub(r"\s+([.,:;!?])", r"\1", text.strip())
        return captions

"""Family `pickscore`: how well people would like a picture for a caption (PickScore, MIT licence).

A CLIP model of transformers, tuned on the choices that users of a text-to-image service made; the
figure is its scaled cosine of picture and caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

from PIL.Image import Image

from imig.models.batched import Batched, ResolvedWeights, Runtime
from imig.models.device import mixed_precision
from imig.models.family import TRANSFORMERS_WEIGHTS, Checkpoint, Family
from imig.models.hub import HubId, find_in_hub_cache
from imig.models.images import as_rgb
from imig.models.libraries import inference_mode, torch, transformers
from imig.models.pretrained import load_pretrained, load_processor
from imig.text import to_encodable

MAX_TOKENS: Final = 77
"""Of a caption; CLIP's text tower has no more places."""


class PickScore(Batched):
    """A `PreferenceJudge`. Weights stay float32; a lower dtype is used by autocast."""

    family: ClassVar[Family] = Family(
        name="pickscore",
        tasks=("judge pictures and captions",),
        library="transformers",
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=("config.json",),
        keeps_float32=True,
        checkpoints=(
            Checkpoint(
                "yuvalkirstain/PickScore_v1",
                3940,
                "MIT",
                companions=("laion/CLIP-ViT-H-14-laion2B-s32B-b79K",),
            ),
        ),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        super().__init__(weights, runtime)
        self._processor = _processor(weights)
        self._model = load_pretrained(
            transformers.CLIPModel,
            weights,
            model_types=("clip",),
            device=runtime.device,
            dtype=torch.float32,
        )

    @inference_mode
    def judge_preference(self, images: Sequence[Image], captions: Sequence[str]) -> list[float]:
        """The scaled cosine of each picture and its caption, about 15 to 25."""
        pictures = as_rgb(images)
        scores: list[float] = []
        for start in range(0, len(pictures), self._batch_size):
            part = slice(start, start + self._batch_size)
            inputs = self._processor(
                images=pictures[part],
                text=[to_encodable(one) for one in captions[part]],
                # All of one length: what a caption gets must not depend on its neighbours.
                padding="max_length",
                truncation=True,
                max_length=min(MAX_TOKENS, self._model.config.text_config.max_position_embeddings),
                return_tensors="pt",
            ).to(self._device)
            with mixed_precision(self._device, self._dtype):
                outputs = self._model(**inputs)
            scores += self._scaled_cosines(outputs).tolist()
        return scores

    def _scaled_cosines(self, outputs: Any) -> torch.Tensor:
        """As transformers (5.23) has them in `logits_per_image`, but always in float32: between 16
        and 32 bfloat16 knows steps of 0.125 only."""
        normalize = torch.nn.functional.normalize
        pictures = normalize(outputs.image_embeds.float(), dim=-1)
        texts = normalize(outputs.text_embeds.float(), dim=-1)
        scaled: torch.Tensor = (pictures * texts).sum(-1) * self._model.logit_scale.exp()
        return scaled


def _processor(weights: ResolvedWeights) -> Any:
    """Beside the weights, or in the hub's cache that of the model that was tuned."""
    names = ("preprocessor_config.json", "processor_config.json")
    if not any((weights.path / name).is_file() for name in names):
        for companion in PickScore.family.checkpoints[0].companions:
            cached = find_in_hub_cache(HubId(companion, None, None))
            if cached is not None:
                return load_processor(transformers.CLIPProcessor, replace(weights, path=cached[0]))
    return load_processor(transformers.CLIPProcessor, weights)

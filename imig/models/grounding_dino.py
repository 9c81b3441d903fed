"""Family `grounding-dino`: Grounding DINO as transformers has it."""

from __future__ import annotations

import torch
from PIL.Image import Image
from transformers import AutoProcessor, GroundingDinoForObjectDetection

from imig.models.batched import Runtime
from imig.models.device import mixed_precision
from imig.models.grounding import Detector, DetectorGrounder
from imig.models.pretrained import load_pretrained, load_processor
from imig.models.weights import ResolvedWeights


class GroundingDino(DetectorGrounder):
    """A `Grounder`. Weights stay float32; a lower dtype is used by autocast."""

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        super().__init__(weights, runtime)
        self._model = load_pretrained(
            GroundingDinoForObjectDetection,
            weights,
            model_types=("grounding-dino",),
            device=runtime.device,
            # The position embeddings of boxes are float32 whatever the weights are, so a model in
            # half precision fails inside transformers.
            dtype=torch.float32,
        )
        processor = load_processor(AutoProcessor, weights)
        self._image_processor = processor.image_processor
        self._detector = Detector(
            tokenizer=processor.tokenizer,
            max_tokens=self._model.config.max_text_len,
            preprocess=self._preprocess,
            forward=self._forward,
        )

    def _preprocess(self, image: Image) -> torch.Tensor:
        inputs = self._image_processor(images=[image], do_pad=False, return_tensors="pt")
        pixels: torch.Tensor = inputs["pixel_values"][0]
        return pixels

    @torch.inference_mode()
    def _forward(
        self, pixels: torch.Tensor, captions: list[str]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        text = self._detector.tokenizer(
            captions, padding=True, return_token_type_ids=True, return_tensors="pt"
        ).to(self._device)
        with mixed_precision(self._device, self._dtype):
            outputs = self._model(pixel_values=pixels.to(self._device), **text)
        return outputs.logits, outputs.pred_boxes

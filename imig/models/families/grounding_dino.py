"""Family `grounding-dino`: Grounding DINO as transformers has it."""

from __future__ import annotations

import warnings
from typing import ClassVar

from PIL.Image import Image

from imig.models.batched import ResolvedWeights, Runtime
from imig.models.device import mixed_precision
from imig.models.family import TRANSFORMERS_WEIGHTS, Checkpoint, Family
from imig.models.grounding import Detector, DetectorGrounder
from imig.models.libraries import inference_mode, torch, transformers
from imig.models.pretrained import load_pretrained, load_processor


class GroundingDino(DetectorGrounder):
    """A `Grounder`. Weights stay float32; a lower dtype is used by autocast."""

    family: ClassVar[Family] = Family(
        name="grounding-dino",
        tasks=("ground",),
        library="transformers",
        tiny=True,
        keeps_float32=True,
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=("config.json", "preprocessor_config.json|processor_config.json"),
        checkpoints=(
            Checkpoint("IDEA-Research/grounding-dino-tiny", 690, "Apache-2.0"),
            Checkpoint("IDEA-Research/grounding-dino-base", 935, "Apache-2.0"),
        ),
    )

    model_type: ClassVar[str] = "grounding-dino"
    """What `model_type` in a checkpoint's `config.json` says."""

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        super().__init__(weights, runtime)
        with warnings.catch_warnings():
            # Of heads whose width is no power of 2, as those of the tiny weights.
            warnings.filterwarnings("ignore", message="You'd better set embed_dim")
            self._model = load_pretrained(
                transformers.AutoModelForZeroShotObjectDetection,
                weights,
                model_types=(self.model_type,),
                device=runtime.device,
                # The position embeddings of boxes are float32 whatever the weights are, so a model
                # in half precision fails inside transformers.
                dtype=torch.float32,
            )
        processor = load_processor(transformers.AutoProcessor, weights)
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

    @inference_mode
    def _forward(
        self, pixels: torch.Tensor, captions: list[str]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        text = self._detector.tokenizer(
            captions, padding=True, return_token_type_ids=True, return_tensors="pt"
        ).to(self._device)
        with mixed_precision(self._device, self._dtype):
            outputs = self._model(pixel_values=pixels.to(self._device), **text)
        return outputs.logits, outputs.pred_boxes

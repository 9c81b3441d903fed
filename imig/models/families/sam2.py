"""Family `sam2`: SAM 2 and 2.1 for still images, as transformers has it."""

from __future__ import annotations

from typing import ClassVar

from imig.models.batched import ResolvedWeights, Runtime
from imig.models.family import TRANSFORMERS_WEIGHTS, Checkpoint, Family
from imig.models.libraries import transformers
from imig.models.pretrained import load_pretrained, load_processor
from imig.models.segmenting import BoxSegmenter


class Sam2(BoxSegmenter):
    """A `Segmenter`; a single mask for each box, one image embedding for all of them."""

    family: ClassVar[Family] = Family(
        name="sam2",
        tasks=("segment",),
        library="transformers",
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=("config.json", "preprocessor_config.json|processor_config.json"),
        checkpoints=(
            Checkpoint("facebook/sam2.1-hiera-large", 900, "Apache-2.0"),
            Checkpoint("facebook/sam2.1-hiera-tiny", 156, "Apache-2.0"),
        ),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        super().__init__(weights, runtime)
        self._mask_model = load_pretrained(
            transformers.Sam2Model,
            weights,
            # The published checkpoints are those of the video model; images need a part of it.
            model_types=("sam2", "sam2_video"),
            device=runtime.device,
            dtype=runtime.dtype,
        )
        self._mask_processor = load_processor(transformers.Sam2Processor, weights)

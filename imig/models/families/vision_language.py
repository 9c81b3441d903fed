"""Family `vision-language`: any model of transformers that chats about pictures."""

from __future__ import annotations

from typing import ClassVar

from imig.models.family import TRANSFORMERS_WEIGHTS, Checkpoint, Family
from imig.models.vision_chat import CHAT_FILES, VisionChat


class VisionLanguage(VisionChat):
    """A `PictureAnswerer` and a `PhraseCaptioner`."""

    family: ClassVar[Family] = Family(
        name="vision-language",
        tasks=("answer about pictures", "caption"),
        library="transformers",
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=CHAT_FILES,
        checkpoints=(
            Checkpoint("Qwen/Qwen2.5-VL-7B-Instruct", 16_600, "Apache-2.0"),
            Checkpoint("HuggingFaceTB/SmolVLM-Instruct", 4_490, "Apache-2.0"),
        ),
    )

    @classmethod
    def model_types(cls) -> tuple[str, ...]:
        """All that the library has a class for."""
        from transformers.models.auto import modeling_auto

        return tuple(modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)

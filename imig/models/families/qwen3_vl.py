"""Family `qwen3-vl`: captions with the objects in them, and answers about pictures, by Qwen3-VL."""

from __future__ import annotations

from typing import ClassVar

from imig.models.family import TRANSFORMERS_WEIGHTS, Checkpoint, Family
from imig.models.vision_chat import CHAT_FILES, VisionChat


class Qwen3VL(VisionChat):
    """A `PictureAnswerer` and a `PhraseCaptioner`."""

    family: ClassVar[Family] = Family(
        name="qwen3-vl",
        tasks=("answer about pictures", "caption"),
        library="transformers",
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=CHAT_FILES,
        checkpoints=(
            Checkpoint("Qwen/Qwen3-VL-4B-Instruct", 8_880, "Apache-2.0"),
            Checkpoint("Qwen/Qwen3-VL-2B-Instruct", 4_260, "Apache-2.0"),
            Checkpoint("Qwen/Qwen3-VL-8B-Instruct", 17_530, "Apache-2.0"),
        ),
    )

    @classmethod
    def model_types(cls) -> tuple[str, ...]:
        """The dense models, and the sparse ones (a mixture of experts)."""
        return ("qwen3_vl", "qwen3_vl_moe")

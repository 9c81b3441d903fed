"""Family `qwen3-vl`: Qwen3-VL, which captions pictures with their objects, and answers about them.

Its classes are those of transformers, for the dense and for the sparse (mixture of experts) models.
"""

from __future__ import annotations

from typing import ClassVar

from imig.models.vision_chat import VisionChat


class Qwen3VL(VisionChat):
    """A `PictureAnswerer` and a `PhraseCaptioner`."""

    model_types: ClassVar = ("qwen3_vl", "qwen3_vl_moe")

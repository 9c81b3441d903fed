"""Family `vision-language`: any such model of transformers that chats about pictures."""

from __future__ import annotations

from typing import ClassVar

from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from imig.models.vision_chat import VisionChat


class VisionLanguage(VisionChat):
    """A `PictureAnswerer` and a `PhraseCaptioner`."""

    model_types: ClassVar = tuple(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)

"""Families that look at pictures: captions, boxes, masks, features, scores."""

from __future__ import annotations

from typing import Final

from imig.models.family import TRANSFORMERS_WEIGHTS, Checkpoint, Family

_SAM_HUB: Final = "ybelkada/segment-anything/checkpoints"

READERS: Final = (
    Family(
        name="grounding-dino",
        tasks=("ground",),
        module="grounding_dino",
        class_name="GroundingDino",
        library="transformers",
        tiny=True,
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=("config.json", "preprocessor_config.json|processor_config.json"),
        checkpoints=(
            Checkpoint("IDEA-Research/grounding-dino-tiny", 690, "Apache-2.0"),
            Checkpoint("IDEA-Research/grounding-dino-base", 935, "Apache-2.0"),
        ),
    ),
    Family(
        name="groundingdino",
        tasks=("ground",),
        module="groundingdino",
        class_name="GroundingDinoPackage",
        library="groundingdino-py",
        tiny_substitute="grounding-dino",
        weight_files=("groundingdino*.pth", "*.pth"),
        takes_file=True,
        checkpoints=(
            Checkpoint(
                "ShilongLiu/GroundingDINO/groundingdino_swint_ogc.pth",
                695,
                "Apache-2.0",
                companions=("google-bert/bert-base-uncased",),
            ),
            Checkpoint(
                "ShilongLiu/GroundingDINO/groundingdino_swinb_cogcoor.pth",
                940,
                "Apache-2.0",
                companions=("google-bert/bert-base-uncased",),
            ),
        ),
    ),
    Family(
        name="segment-anything",
        tasks=("segment",),
        module="segment_anything",
        class_name="SegmentAnything",
        library="segment-anything",
        tiny=True,
        weight_files=("model.safetensors", "sam_vit_*.pth", "*.pth"),
        takes_file=True,
        checkpoints=(
            Checkpoint(f"{_SAM_HUB}/sam_vit_h_4b8939.pth", 2560, "Apache-2.0"),
            Checkpoint(f"{_SAM_HUB}/sam_vit_l_0b3195.pth", 1250, "Apache-2.0"),
            Checkpoint(f"{_SAM_HUB}/sam_vit_b_01ec64.pth", 375, "Apache-2.0"),
        ),
    ),
    Family(
        name="sam2",
        tasks=("segment",),
        module="sam2",
        class_name="Sam2",
        library="transformers",
        tiny_substitute="segment-anything",
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=("config.json", "preprocessor_config.json|processor_config.json"),
        checkpoints=(
            Checkpoint("facebook/sam2.1-hiera-large", 900, "Apache-2.0"),
            Checkpoint("facebook/sam2.1-hiera-tiny", 156, "Apache-2.0"),
        ),
    ),
    Family(
        name="open-clip",
        tasks=("score image and text",),
        module="open_clip",
        class_name="OpenClip",
        library="open_clip_torch",
        tiny=True,
        # The order in which open_clip itself looks into a folder.
        weight_files=(
            "open_clip_model.safetensors",
            "open_clip_pytorch_model.safetensors",
            "open_clip_pytorch_model.bin",
            "*.safetensors",
            "*.pt",
        ),
        needs=("open_clip_config.json",),
        takes_file=True,
        checkpoints=(
            Checkpoint("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 605, "MIT"),
            Checkpoint("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", 3940, "MIT"),
        ),
    ),
    Family(
        name="dinov2",
        tasks=("embed images",),
        module="dinov2",
        class_name="DinoV2",
        library="transformers",
        tiny=True,
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=("config.json", "preprocessor_config.json|processor_config.json"),
        checkpoints=(
            Checkpoint("facebook/dinov2-base", 346, "Apache-2.0"),
            Checkpoint("facebook/dinov2-small", 88, "Apache-2.0"),
            Checkpoint("facebook/dinov2-large", 1220, "Apache-2.0"),
        ),
    ),
    Family(
        name="blip",
        tasks=("caption",),
        module="blip",
        class_name="Blip",
        library="transformers",
        tiny=True,
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=("config.json", "preprocessor_config.json|processor_config.json"),
        checkpoints=(
            Checkpoint("Salesforce/blip-image-captioning-base", 990, "BSD-3-Clause"),
            Checkpoint("Salesforce/blip-image-captioning-large", 1880, "BSD-3-Clause"),
        ),
    ),
    Family(
        name="vision-language",
        tasks=("answer about pictures", "caption"),
        module="vision_language",
        class_name="VisionLanguage",
        library="transformers",
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=(
            "config.json",
            "preprocessor_config.json|processor_config.json",
            "tokenizer_config.json",
        ),
        checkpoints=(
            Checkpoint("Qwen/Qwen2.5-VL-7B-Instruct", 16_600, "Apache-2.0"),
            Checkpoint("HuggingFaceTB/SmolVLM-Instruct", 4_490, "Apache-2.0"),
        ),
    ),
    Family(
        name="qwen3-vl",
        tasks=("answer about pictures", "caption"),
        module="qwen3_vl",
        class_name="Qwen3VL",
        library="transformers",
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=(
            "config.json",
            "preprocessor_config.json|processor_config.json",
            "tokenizer_config.json",
        ),
        checkpoints=(
            Checkpoint("Qwen/Qwen3-VL-4B-Instruct", 8_880, "Apache-2.0"),
            Checkpoint("Qwen/Qwen3-VL-2B-Instruct", 4_260, "Apache-2.0"),
            Checkpoint("Qwen/Qwen3-VL-8B-Instruct", 17_500, "Apache-2.0"),
        ),
    ),
)

"""Families that judge whole pictures."""

from __future__ import annotations

from typing import Final

from imig.models.family import TRANSFORMERS_WEIGHTS, Checkpoint, Family

JUDGES: Final = (
    Family(
        name="aesthetics",
        tasks=("judge pictures",),
        module="aesthetics",
        class_name="Aesthetics",
        library="open_clip_torch",
        weight_files=(
            "open_clip_model.safetensors",
            "open_clip_pytorch_model.safetensors",
            "open_clip_pytorch_model.bin",
        ),
        needs=("open_clip_config.json",),
        head="the head: a .safetensors or .pth file, for example "
        "sac+logos+ava1-l14-linearMSE.pth of "
        "https://github.com/christophschuhmann/improved-aesthetic-predictor (Apache-2.0)",
        checkpoints=(Checkpoint("timm/vit_large_patch14_clip_224.openai", 1710, "MIT"),),
    ),
    Family(
        name="pickscore",
        tasks=("judge pictures and captions",),
        module="pickscore",
        class_name="PickScore",
        library="transformers",
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=("config.json",),
        checkpoints=(
            Checkpoint(
                "yuvalkirstain/PickScore_v1",
                3940,
                "MIT",
                companions=("laion/CLIP-ViT-H-14-laion2B-s32B-b79K",),
            ),
        ),
    ),
)

"""Checkpoints at their published sizes, with random weights, in the layouts that families load.

Tokenizers are those of the tiny checkpoints: how a word is split matters little to the time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from imig.estimate.networks import NETWORKS
from imig.models.families import FAMILIES
from imig.models.weights import tiny_folder
from imig.recipe.parts import ModelConfig

Write = Callable[[Path, torch.device], ModelConfig]

CLIP_NAME: Final = "ViT-H-14"


def write_grounding_dino(folder: Path, device: torch.device) -> ModelConfig:
    """Grounding DINO with a Swin-B (`IDEA-Research/grounding-dino-base`)."""
    from transformers import AutoTokenizer, GroundingDinoImageProcessor, GroundingDinoProcessor

    model = _made("Grounding DINO base", device)
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder(FAMILIES["grounding-dino"]))
    make: Any = GroundingDinoProcessor
    make(image_processor=GroundingDinoImageProcessor(), tokenizer=tokenizer).save_pretrained(folder)
    return ModelConfig(family="grounding-dino", weights=str(folder))


def write_segment_anything(folder: Path, device: torch.device) -> ModelConfig:
    """SAM with a ViT-H, as `sam_vit_h_4b8939.pth` has it."""
    folder.mkdir()
    path = folder / "sam_vit_h.pth"
    torch.save(_made("SAM ViT-H", device).state_dict(), path)
    return ModelConfig(family="segment-anything", weights=str(path))


def write_open_clip(folder: Path, device: torch.device) -> ModelConfig:
    """CLIP with a ViT-H (`laion/CLIP-ViT-H-14-laion2B-s32B-b79K`)."""
    import open_clip

    folder.mkdir()
    state = _made("CLIP ViT-H-14", device).state_dict()
    save_file(
        {name: one.contiguous() for name, one in state.items()},
        folder / "open_clip_model.safetensors",
    )
    preprocess = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    described = {"model_cfg": open_clip.get_model_config(CLIP_NAME), "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(described), encoding="utf-8")
    return ModelConfig(family="open-clip", weights=str(folder))


def write_dinov2_base(folder: Path, device: torch.device) -> ModelConfig:
    """`facebook/dinov2-base`."""
    return _write_dinov2(folder, device, hidden=768, layers=12, heads=12)


def write_dinov2_large(folder: Path, device: torch.device) -> ModelConfig:
    """`facebook/dinov2-large`."""
    return _write_dinov2(folder, device, hidden=1024, layers=24, heads=16)


def _write_dinov2(
    folder: Path, device: torch.device, *, hidden: int, layers: int, heads: int
) -> ModelConfig:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    config = Dinov2Config(
        image_size=518,
        patch_size=14,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
    )
    with device:
        model: Any = Dinov2Model(config)
    model.save_pretrained(folder)
    BitImageProcessor(
        size={"shortest_edge": 256},
        crop_size={"height": 224, "width": 224},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)
    return ModelConfig(family="dinov2", weights=str(folder))


def _made(name: str, device: torch.device) -> Any:
    """On the device: a CPU would draw the numbers for minutes."""
    with device, torch.no_grad():
        return NETWORKS[name].make()


FULL: Final[dict[str, Write]] = {
    "grounding-dino Swin-B": write_grounding_dino,
    "segment-anything ViT-H": write_segment_anything,
    "open-clip ViT-H-14": write_open_clip,
    "dinov2 base": write_dinov2_base,
    "dinov2 large": write_dinov2_large,
}
TINY: Final[dict[str, ModelConfig]] = {
    "grounding-dino Swin-B": ModelConfig(family="grounding-dino"),
    "segment-anything ViT-H": ModelConfig(family="segment-anything"),
    "open-clip ViT-H-14": ModelConfig(family="open-clip"),
    "dinov2 base": ModelConfig(family="dinov2"),
    "dinov2 large": ModelConfig(family="dinov2"),
}
"""What stands in for them in a small run."""

"""A folder as `facebook/sam3`, every width shrunk, weights random."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import (
    CLIPTokenizer,
    Sam2VideoVideoProcessor,
    Sam3ImageProcessor,
    Sam3VideoConfig,
    Sam3VideoModel,
    Sam3VideoProcessor,
)

SIDE = 112
"""Pixels, where the published checkpoint has 1008; the patches are its own."""
WIDTH = 32
QUERIES = 12
"""Boxes that a phrase gets at most."""


def save_sam3(folder: Path) -> None:
    torch.manual_seed(0)
    model = Sam3VideoModel(_config())
    # As drawn, weights are so small that hardly anything depends on the picture.
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.xavier_normal_(parameter, gain=1.5)
    model.config.save_pretrained(folder)
    # `save_pretrained` of transformers 5.23 puts the tracker's prefix before its weights twice.
    state = {key: value.clone() for key, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    images = Sam3ImageProcessor(
        size={"height": SIDE, "width": SIDE}, mask_size={"height": 32, "width": 32}
    )
    Sam3VideoProcessor(
        image_processor=images,
        video_processor=Sam2VideoVideoProcessor(),
        tokenizer=_tokenizer(folder / "raw"),
    ).save_pretrained(folder)
    shutil.rmtree(folder / "raw")


def _config() -> Sam3VideoConfig:
    layers = {"hidden_size": WIDTH, "num_attention_heads": 2, "intermediate_size": 64}
    vision: dict[str, Any] = {
        "backbone_config": {
            "model_type": "sam3_vit_model",
            **layers,
            "num_hidden_layers": 2,
            "image_size": SIDE,
            "patch_size": 14,
            "window_size": 4,
            "global_attn_indexes": [1],
            "pretrain_image_size": 56,
        },
        "fpn_hidden_size": WIDTH,
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    }
    text = {
        "model_type": "clip_text_model",
        "vocab_size": 54,
        **layers,
        "projection_dim": WIDTH,
        "num_hidden_layers": 2,
        "max_position_embeddings": 32,
        "bos_token_id": 52,
        "eos_token_id": 53,
    }
    decoder = {"hidden_size": WIDTH, "mlp_dim": 64, "num_attention_heads": 2}
    return Sam3VideoConfig(
        detector_config={
            "model_type": "sam3",
            "vision_config": vision,
            "text_config": text,
            "geometry_encoder_config": {**layers, "num_layers": 1},
            "detr_encoder_config": {**layers, "num_layers": 2},
            "detr_decoder_config": {**layers, "num_layers": 2, "num_queries": QUERIES},
            "mask_decoder_config": {"hidden_size": WIDTH, "num_attention_heads": 2},
        },
        tracker_config={
            "model_type": "sam3_tracker_video",
            "vision_config": vision,
            "image_size": SIDE,
            "prompt_encoder_config": {
                "hidden_size": WIDTH, "image_size": SIDE, "patch_size": 14,
            },
            "mask_decoder_config": {**decoder, "iou_head_hidden_dim": WIDTH},
            "memory_attention_hidden_size": WIDTH,
            "memory_attention_num_layers": 1,
            "memory_attention_feed_forward_hidden_size": 64,
            "memory_encoder_hidden_size": WIDTH,
            "memory_encoder_output_channels": 16,
            "mask_downsampler_embed_dim": WIDTH,
            "memory_fuser_embed_dim": WIDTH,
            "memory_fuser_intermediate_dim": 64,
        },
        low_res_mask_size=32,
    )  # fmt: skip


def _tokenizer(raw: Path) -> Any:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    raw.mkdir(parents=True)
    (raw / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (raw / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(raw)

"""A FLUX pipeline folder in diffusers' layout: random weights, every part a few kilobytes."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import BertTokenizer, CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

FLUX: Any = diffusers  # whose classes mypy takes for untyped
TEXT_WIDTH, POOLED_WIDTH = 24, 20
TOKENS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *string.ascii_lowercase,
    *(f"##{letter}" for letter in string.ascii_lowercase),
]
"""Every word is spelt: no vocabulary to make."""


def write_contextgen_folder(folder: Path, *, seed: int = 0) -> Path:
    """Write transformer, text encoders, tokenizers and autoencoder; returns the folder."""
    torch.manual_seed(seed)
    vocabulary = {token: number for number, token in enumerate(TOKENS)}
    pipeline = FLUX.FluxKontextPipeline(
        transformer=_transformer(),
        text_encoder=_clip(),
        text_encoder_2=_t5(),
        vae=_autoencoder(),
        tokenizer=BertTokenizer(vocab=vocabulary, model_max_length=77),
        tokenizer_2=BertTokenizer(vocab=vocabulary, model_max_length=512),
        scheduler=FLUX.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )
    pipeline.save_pretrained(folder)
    return folder


def _transformer() -> Any:
    return FLUX.FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=POOLED_WIDTH,
        axes_dims_rope=(4, 6, 6),
        guidance_embeds=True,
    )


def _clip() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(TOKENS),
            hidden_size=POOLED_WIDTH,
            intermediate_size=40,
            num_hidden_layers=1,
            num_attention_heads=2,
            bos_token_id=2,
            eos_token_id=3,
            pad_token_id=0,
        )
    )


def _t5() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(TOKENS),
            d_model=TEXT_WIDTH,
            d_kv=12,
            d_ff=32,
            num_layers=1,
            num_heads=2,
        )
    )


def _autoencoder() -> Any:
    return FLUX.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
        mid_block_add_attention=False,
        shift_factor=0.1,
        scaling_factor=0.5,
    )

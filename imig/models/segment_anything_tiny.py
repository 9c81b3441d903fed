"""Small Sams, built from the segment_anything package's own classes.

`segment_anything.build_sam` fixes 1024 pixels and a prompt width of 256; its classes do not. A
weights folder of ours holds `config.json` (a `SamConfig`) and `model.safetensors`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import nn


class SamConfig(BaseModel):
    """Sizes of a Sam. The defaults are those of the official ViT-B (`segment_anything.build_sam`).

    `prompt_embed_dim` is the width of the neck, the prompt encoder and the mask decoder; half of it
    must be a multiple of `decoder_num_heads`. Masks come out at 4 * image_size / patch_size pixels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = Field(default=1024, gt=0)
    patch_size: int = Field(default=16, gt=0)
    embed_dim: int = Field(default=768, gt=0)
    depth: int = Field(default=12, gt=0)
    num_heads: int = Field(default=12, gt=0)
    mlp_ratio: float = Field(default=4.0, gt=0)
    window_size: int = Field(default=14, ge=0, description="Patches; 0: global attention only.")
    global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11)
    prompt_embed_dim: int = Field(default=256, gt=0)
    mask_in_chans: int = Field(default=16, gt=0)
    decoder_depth: int = Field(default=2, gt=0)
    decoder_mlp_dim: int = Field(default=2048, gt=0)
    decoder_num_heads: int = Field(default=8, gt=0)
    iou_head_depth: int = Field(default=3, gt=0)
    iou_head_hidden_dim: int = Field(default=256, gt=0)
    pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    pixel_std: tuple[float, float, float] = (58.395, 57.12, 57.375)


def build_sam(config: Mapping[str, Any]) -> Sam:
    """A Sam with random weights, in evaluation mode, of the sizes in `config` (see `SamConfig`).

    Raises
    ------
    pydantic.ValidationError
        When `config` has a key that `SamConfig` does not know, or a value out of range.
    """
    sizes = SamConfig.model_validate(dict(config))
    grid = sizes.image_size // sizes.patch_size
    sam = Sam(
        image_encoder=ImageEncoderViT(
            img_size=sizes.image_size,
            patch_size=sizes.patch_size,
            embed_dim=sizes.embed_dim,
            depth=sizes.depth,
            num_heads=sizes.num_heads,
            mlp_ratio=sizes.mlp_ratio,
            out_chans=sizes.prompt_embed_dim,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            qkv_bias=True,
            use_rel_pos=True,
            window_size=sizes.window_size,
            global_attn_indexes=sizes.global_attn_indexes,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=sizes.prompt_embed_dim,
            image_embedding_size=(grid, grid),
            input_image_size=(sizes.image_size, sizes.image_size),
            mask_in_chans=sizes.mask_in_chans,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=sizes.decoder_depth,
                embedding_dim=sizes.prompt_embed_dim,
                mlp_dim=sizes.decoder_mlp_dim,
                num_heads=sizes.decoder_num_heads,
            ),
            transformer_dim=sizes.prompt_embed_dim,
            iou_head_depth=sizes.iou_head_depth,
            iou_head_hidden_dim=sizes.iou_head_hidden_dim,
        ),
        pixel_mean=list(sizes.pixel_mean),
        pixel_std=list(sizes.pixel_std),
    )
    return sam.eval()


def read_sam_config(path: Path) -> dict[str, Any]:
    """The `config.json` of a weights folder as the mapping that `build_sam` takes."""
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config

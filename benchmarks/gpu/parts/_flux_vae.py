"""FLUX's autoencoder with random weights, at its own width or a narrow one."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from torch import nn

WIDTH = 128
"""Channels of the outermost level."""


def make_vae(*, width: int = WIDTH, device: torch.device, dtype: torch.dtype) -> Any:
    """In evaluation mode; published but for the width."""
    library: Any = diffusers
    with device:
        vae = library.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(width, 2 * width, 4 * width, 4 * width),
            layers_per_block=2,
            latent_channels=16,
            norm_num_groups=width // 4,
            use_quant_conv=False,
            use_post_quant_conv=False,
            scaling_factor=0.3611,
            shift_factor=0.1159,
        )
    # diffusers' own `to` warns about layers that this network has not
    return nn.Module.to(vae, dtype).eval()

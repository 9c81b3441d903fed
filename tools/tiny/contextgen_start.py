"""A start for the autoencoder from which minutes of training suffice.

From random weights it learns brightness first and colours only after many thousand steps. Here the
encoder starts as the linear projection of 8 x 8 pixels that keeps most of their variance (principal
components of the training pictures), laid into its convolutions; the decoder starts with its
residual branches closed, so that gradients reach every layer.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn

_PAD = 4.0
"""Size of the constant channels that keep the last group norm's deviation nearly constant."""
_LOG_VARIANCE = -6.0
"""Of the latents at the start: much less than their spread, so that they carry something."""

Floats = NDArray[np.float32]


@torch.no_grad()
def start_linear(vae: AutoencoderKL, images: NDArray[np.uint8]) -> None:
    """Sets the weights of an autoencoder of `contextgen_vae.CONFIG` for pictures (n, h, w, 3)."""
    for module in vae.modules():
        if type(module).__name__ == "ResnetBlock2D":
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
    for block in vae.decoder.up_blocks:
        for upsampler in block.upsamplers or ():
            _add_identity(upsampler.conv)
    encoder = vae.encoder
    first, second, third = (block.downsamplers[0].conv for block in encoder.down_blocks[:3])
    pixels = images.astype(np.float32) / 127.5 - 1
    _clear(encoder.conv_in, 3)
    encoder.conv_in.weight[:3, :, 1, 1] = torch.eye(3)
    halves = _fold(pixels)
    _clear(first, 12)
    first.weight[:12, :3, :2, :2] = _kernels(np.eye(12, dtype=np.float32))
    _pass_on(encoder.down_blocks[1].resnets[0].conv_shortcut, 12)
    quarters = _fold(halves)
    wide = second.out_channels
    projection = _principal(quarters, wide)[0]
    _clear(second, wide)
    second.weight[:, :12, :2, :2] = _kernels(projection)
    _pass_on(encoder.down_blocks[2].resnets[0].conv_shortcut, wide)
    eighths = _fold(quarters @ projection.T)
    _start_latents(vae, third, eighths)


def _start_latents(vae: AutoencoderKL, last: nn.Conv2d, features: Floats) -> None:
    """The last downsampling, and the way from there through norm and SiLU to the latents.

    silu(x) - silu(-x) = x: each latent travels as a pair of channels of opposite sign, which also
    keeps the mean of every group at 0; a pair of constants holds the group's deviation.
    """
    out = vae.encoder.conv_out
    last_bias, out_bias = last.bias, out.bias
    assert last_bias is not None
    assert out_bias is not None
    latents = int(vae.config.latent_channels)
    groups = int(vae.config.norm_num_groups)
    size, each = last.out_channels // groups, latents // groups
    rows, variance = _principal(features, latents)
    # half whitened: fine components are raised above the noise, yet stay smaller than coarse ones
    rows = rows / variance[:, None] ** 0.25
    mean = features.reshape(-1, features.shape[-1]).mean(0)
    spread = ((features - mean) @ rows.T).std()
    rows = rows / spread
    kernels, offsets = _kernels(rows), torch.from_numpy(rows @ mean)
    deviation = ((2 * _PAD**2 + 2 * each) / size) ** 0.5
    _clear(out, latents)
    out.weight[latents:] *= 0.1
    out_bias[latents:] = _LOG_VARIANCE
    inputs = kernels.shape[1]
    for group in range(groups):
        start = group * size
        used = 2 * each + 2
        last.weight[start : start + used] = 0
        last_bias[start : start + used] = 0
        for number in range(each):
            latent = group * each + number
            for side, sign in enumerate((1, -1)):
                channel = start + 2 * number + side
                last.weight[channel, :inputs, :2, :2] = sign * kernels[latent]
                last_bias[channel] = -sign * offsets[latent]
                out.weight[latent, channel, 1, 1] = sign * deviation
        last_bias[start + used - 2] = _PAD
        last_bias[start + used - 1] = -_PAD


def _fold(pictures: Floats) -> Floats:
    """(n, h, w, c) to (n, h/2, w/2, 4c): squares of four by row, column, channel."""
    count, height, width, channels = pictures.shape
    squares = pictures.reshape(count, height // 2, 2, width // 2, 2, channels)
    return squares.transpose(0, 1, 3, 2, 4, 5).reshape(count, height // 2, width // 2, -1)


def _principal(features: Floats, count: int) -> tuple[Floats, Floats]:
    """The leading directions (count, c) of features (.., c), and the variance along each."""
    flat = features.reshape(-1, features.shape[-1])
    flat = flat - flat.mean(0)
    values, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
    leading = np.ascontiguousarray(vectors[:, ::-1][:, :count].T, np.float32)
    return leading, np.asarray(values[::-1][:count], np.float32)


def _kernels(rows: Floats) -> Tensor:
    """Rows over folded squares (r, 4c) as kernels of a downsampling convolution (r, c, 2, 2)."""
    kernels = rows.reshape(len(rows), 2, 2, -1).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(kernels))


def _clear(convolution: nn.Conv2d, channels: int) -> None:
    convolution.weight[:channels] = 0
    assert convolution.bias is not None
    convolution.bias[:channels] = 0


def _pass_on(shortcut: nn.Conv2d, channels: int) -> None:
    _clear(shortcut, channels)
    shortcut.weight[:channels, :channels, 0, 0] = torch.eye(channels)


def _add_identity(convolution: nn.Conv2d) -> None:
    channels = torch.arange(convolution.out_channels)
    convolution.weight[channels, channels, 1, 1] += 1

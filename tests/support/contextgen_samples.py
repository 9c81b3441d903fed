"""Small random FLUX transformers and encoded samples."""

from __future__ import annotations

import torch
from diffusers import FluxTransformer2DModel

from imig.contextgen.sample import Box, EncodedReference, EncodedSample, TextEmbedding

CHANNELS, TEXT_WIDTH, POOLED_WIDTH = 16, 24, 20
HEAD_DIM = 16


def small_transformer(*, double: int = 2, single: int = 4, seed: int = 0) -> FluxTransformer2DModel:
    """FLUX with few, narrow blocks and random weights that all matter."""
    torch.manual_seed(seed)
    transformer = FluxTransformer2DModel(
        in_channels=CHANNELS,
        num_layers=double,
        num_single_layers=single,
        attention_head_dim=HEAD_DIM,
        num_attention_heads=2,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=POOLED_WIDTH,
        axes_dims_rope=(4, 6, 6),
        guidance_embeds=True,
    )
    return transformer.eval()


def random_sample(
    seed: int,
    *,
    grid: tuple[int, int] = (5, 6),
    text: int = 4,
    references: int = 2,
    valid_share: float = 0.6,
) -> EncodedSample:
    """A sample whose references differ in size, and overlap in their boxes."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    tokens = grid[0] * grid[1]
    made = []
    for number in range(references):
        height, width = 2 + (seed + number) % 3, 2 + (seed + 2 * number) % 3
        valid = torch.rand(height, width, generator=generator) < valid_share
        valid[0, 0] = True
        box: Box = (5.0 + 14 * number, 3, 5.0 + 14 * number + 40, 60)
        made.append(EncodedReference(normal(height * width, CHANNELS), valid, box))
    return EncodedSample(
        id=f"sample-{seed}",
        text=TextEmbedding(normal(text, TEXT_WIDTH), normal(POOLED_WIDTH)),
        grid=grid,
        layout=normal(tokens, CHANNELS),
        references=tuple(made),
        target=normal(tokens, CHANNELS),
    )

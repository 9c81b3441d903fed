"""What is trained in one step: the sizes of FLUX and of its samples."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from imig.contextgen.flops import FluxSizes
from imig.contextgen.sample import Box
from imig.layout.reference_size import TOKEN

CANVAS = 768
BOXES: tuple[Box, ...] = (
    (20, 30, 400, 420),
    (380, 40, 740, 400),
    (60, 400, 420, 740),
    (400, 380, 750, 750),
)
"""Four subjects that fill most of the canvas, as the suite's `layout_composition` has them."""
VARY_TEXT = (1.0, 0.75, 1.25, 0.875)
VARY_FILL = (0.0, -0.05, 0.05, 0.0)
"""How the samples of a batch differ: the trainer makes batches of samples of similar length."""


@dataclass(frozen=True)
class FluxConfig:
    """FLUX's configuration, by diffusers' names; the defaults are those of FLUX.1-Kontext."""

    num_layers: int = 19
    num_single_layers: int = 38
    attention_head_dim: int = 128
    num_attention_heads: int = 24
    in_channels: int = 64
    joint_attention_dim: int = 4096
    pooled_projection_dim: int = 768
    axes_dims_rope: tuple[int, int, int] = (16, 56, 56)
    guidance_embeds: bool = True

    @property
    def blocks(self) -> int:
        """Double and single blocks together."""
        return self.num_layers + self.num_single_layers


@dataclass(frozen=True)
class Setup:
    """A model and its samples."""

    name: str
    flux: FluxConfig
    rank: int
    target: int
    """Pixels of a side of the target."""
    reference: int
    """Pixels of a side of a reference; there are four."""
    text: int
    """T5 tokens of a caption, wrapped into the instruction."""
    padded_text: int
    """What the released trainer pads each caption to."""

    @property
    def sizes(self) -> FluxSizes:
        """For `imig.contextgen.flops`."""
        return cast(FluxSizes, self.flux)  # frozen, which the protocol does not foresee

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the target's tokens."""
        side = self.target // TOKEN
        return side, side

    @property
    def reference_grid(self) -> tuple[int, int]:
        """(rows, columns) of a reference's tokens."""
        side = self.reference // TOKEN
        return side, side

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Where the references belong, in pixels of the target."""
        scale = self.target / CANVAS
        return tuple((a * scale, b * scale, c * scale, d * scale) for a, b, c, d in BOXES)


FULL = Setup("full", FluxConfig(), 512, target=768, reference=512, text=128, padded_text=512)
"""FLUX.1-Kontext, LoRA of rank 512.

A caption of 128 tokens: the instruction has about 30, and some 75 words take the others.
"""
SMALL = Setup(
    "small",
    FluxConfig(
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=64,
        num_attention_heads=4,
        joint_attention_dim=256,
        pooled_projection_dim=64,
        axes_dims_rope=(8, 28, 28),
    ),
    rank=40,
    target=192,
    reference=128,
    text=8,
    padded_text=32,
)
"""A sixteenth of the full size's tokens and about a tenth of its width, in the same proportions."""
SETUPS = {one.name: one for one in (FULL, SMALL)}


def random_transformer(
    flux: FluxConfig, *, device: torch.device, dtype: torch.dtype, seed: int
) -> FluxTransformer2DModel:
    """FLUX with random weights, made on the device: 12 billion of them would take a CPU minutes."""
    transformer = _empty_transformer(flux)
    nn.Module.to(transformer, dtype)  # diffusers' own warns about layers that FLUX has not
    transformer.to_empty(device=device).eval()
    generator = torch.Generator(device).manual_seed(seed)
    for name, parameter in transformer.named_parameters():
        fill_randomly(name, parameter, generator)
    return transformer.requires_grad_(False)


@torch.no_grad()
def fill_randomly(name: str, parameter: Tensor, generator: torch.Generator) -> None:
    """Weights that keep the size of what passes through, so that every layer matters."""
    if parameter.dim() == 1:
        parameter.fill_(1 if name.endswith("weight") else 0)
    else:
        parameter.normal_(0, parameter.shape[1] ** -0.5, generator=generator)


def twin_of(transformer: FluxTransformer2DModel, flux: FluxConfig) -> FluxTransformer2DModel:
    """A second transformer with the weights of the first, not copied: 24 GB once are enough.

    Call it before either gets an adapter; adapters, processors and compilation are of each its own.
    """
    twin = _empty_transformer(flux)
    twin.load_state_dict(transformer.state_dict(), assign=True)
    return twin.eval().requires_grad_(False)


def _empty_transformer(flux: FluxConfig) -> Any:
    with torch.device("meta"):
        transformer: nn.Module = FluxTransformer2DModel(**asdict(flux))
    return transformer

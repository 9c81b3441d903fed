"""How much a training step computes: for MFU, and to compare ways of computing the same.

Counted are the matrix products of linear layers, adapter and attention, two operations for each
multiplication, as the paper's hardware sees them; pairs that a mask hides count nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from imig.contextgen.tokens import TokenTable
from imig.contextgen.visibility import Kind, Variant, kinds_seen

MLP = 4
"""FLUX's hidden width of an MLP, in widths of the model."""


class FluxSizes(Protocol):
    """What of a FLUX transformer's configuration decides its work."""

    num_layers: int
    num_single_layers: int
    attention_head_dim: int
    num_attention_heads: int
    in_channels: int
    joint_attention_dim: int


@dataclass(frozen=True)
class Work:
    """Floating point operations of a forward pass."""

    linear: float = 0.0
    """Of the frozen layers."""
    adapter: float = 0.0
    attention: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.linear + other.linear,
            self.adapter + other.adapter,
            self.attention + other.attention,
        )

    @property
    def forward(self) -> float:
        """All of it."""
        return self.linear + self.adapter + self.attention

    def training(self, *, recomputed: float) -> float:
        """Forward and backward pass.

        Backward computes the gradient of each layer's input, and for adapter and attention as
        much again for their other factor; a share of the blocks runs forward twice
        (`recomputed`, gradient checkpointing).
        """
        backward = self.linear + 2 * self.adapter + 2 * self.attention
        return self.forward * (1 + recomputed) + backward


@dataclass(frozen=True)
class BlockLoad:
    """What one block is given, of all samples of a batch together."""

    text: int
    """Text tokens, padding included."""
    image: int
    """Target, layout and reference tokens, padding included."""
    pairs: int
    """Pairs of a query and a key that it sees."""


def forward_work(sizes: FluxSizes, blocks: Sequence[BlockLoad], *, rank: float) -> Work:
    """The work of the blocks, double blocks first, with LoRA of a rank on `adapter.TARGETS`.

    Of an adapter whose ranks or layers differ from that, `adapter.counted_rank` is the rank.

    The embeddings and modulations, once a sample or a thousandth of a block, are left out.
    """
    width = sizes.attention_head_dim * sizes.num_attention_heads
    total = Work()
    for number, load in enumerate(blocks):
        tokens = load.text + load.image
        # double: q, k, v, out and the MLP's two layers, for either stream; single: the same sizes,
        # the MLP beside the attention and one joint layer out
        linear = 2 * (4 + 2 * MLP) * width**2 * tokens
        if number < sizes.num_layers:
            # image stream: to_q, to_k, to_v, to_out, and the MLP's second layer
            adapter = 2 * rank * (8 + 1 + MLP) * width * load.image
        else:
            # to_q, to_k, to_v; proj_mlp; proj_out
            adapter = 2 * rank * (6 + 1 + MLP + 1 + MLP + 1) * width * tokens
        total += Work(linear, adapter, 4 * width * load.pairs)
    return total


def visible_pairs(tokens: TokenTable, *, kind: Kind, variant: Variant) -> int:
    """How many pairs `imig.contextgen.visibility.visible` is true for, counted kind by kind."""
    sees, kind_of = kinds_seen(tokens, kind=kind, variant=variant)
    counts = torch.zeros(len(kind_of), len(sees), dtype=torch.int64, device=kind_of.device)
    counts.scatter_add_(1, kind_of, torch.ones_like(kind_of))
    seen = (counts[:, :, None] * sees).sum(dim=1)  # by how many queries a key of each kind is
    return int((seen * counts).sum())


def batch_work(
    sizes: FluxSizes,
    tokens: TokenTable,
    kinds: Sequence[Kind],
    *,
    variant: Variant,
    leave: int,
    rank: float,
) -> Work:
    """The work of a forward pass of `imig.contextgen.model.ContextGen` over a batch.

    `kinds` and `leave` are the model's `kinds` and `references_leave_before()`.
    """
    rows = len(tokens.role)
    trunk = tokens.first(tokens.trunk)
    pairs = {kind: visible_pairs(tokens, kind=kind, variant=variant) for kind in sorted(set(kinds))}
    trunk_pairs = visible_pairs(trunk, kind="cla", variant=variant)
    loads = []
    for number, kind in enumerate(kinds):
        inside = tokens if number < leave else trunk
        loads.append(
            BlockLoad(
                text=rows * tokens.text,
                image=rows * (inside.length - tokens.text),
                pairs=pairs[kind] if number < leave else trunk_pairs,
            )
        )
    return forward_work(sizes, loads, rank=rank)


def sizes_of(transformer: Any) -> FluxSizes:
    """The configuration of a diffusers FLUX transformer."""
    sizes: FluxSizes = transformer.config
    return sizes

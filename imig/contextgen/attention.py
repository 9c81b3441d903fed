"""The attention of a FLUX block under a mask, as a processor of diffusers.

One processor serves all blocks: which mask a block gets comes with the call, through diffusers'
`joint_attention_kwargs`, so that the stock blocks run unchanged (also under gradient checkpointing
and torch.compile).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_flux import FluxAttention, _get_qkv_projections
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from imig.contextgen.visibility import Mask

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines, each (b, length, head_dim), as `FluxPosEmbed` has them for one sample."""


class MaskedFluxAttention:
    """Attention with a mask and rotary indices of each sample's own.

    diffusers' own processor takes rotary tables of one sample for the whole batch only, and hands
    a BlockMask to an uncompiled kernel (REFERENCE 3.6b).
    """

    def __call__(
        self,
        attn: FluxAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
        mask: Mask = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Called by `FluxAttention`; `attention_mask` is diffusers' and unused, `mask` is ours."""
        text = encoder_hidden_states
        query, key, value, *added = _get_qkv_projections(attn, hidden_states, text)
        query, key, value = (_heads(one, attn.head_dim) for one in (query, key, value))
        query, key = attn.norm_q(query), attn.norm_k(key)
        if text is not None:
            text_query, text_key, text_value = (_heads(one, attn.head_dim) for one in added)
            query = torch.cat((attn.norm_added_q(text_query), query), dim=1)
            key = torch.cat((attn.norm_added_k(text_key), key), dim=1)
            value = torch.cat((text_value, value), dim=1)
        if image_rotary_emb is not None:
            query, key = rotate(query, image_rotary_emb), rotate(key, image_rotary_emb)
        # autocast has norms in float32, and FlexAttention takes what it is given
        query, key = query.to(value.dtype), key.to(value.dtype)
        mixed = attend(query, key, value, mask).flatten(2)
        if text is None:
            return mixed
        words, image = mixed[:, : text.shape[1]], mixed[:, text.shape[1] :]
        return attn.to_out[1](attn.to_out[0](image)), attn.to_add_out(words)


def _heads(states: Tensor, head_dim: int) -> Tensor:
    """(b, length, heads * head_dim) -> (b, length, heads, head_dim)."""
    return states.view(*states.shape[:2], -1, head_dim)


def rotate(states: Tensor, rotary: Rotary) -> Tensor:
    """Rotate neighbouring pairs of (b, length, heads, head_dim) in float32, as FLUX does."""
    cosines, sines = (one[:, :, None] for one in rotary)
    real, imaginary = states.float().view(*states.shape[:-1], -1, 2).unbind(-1)
    turned = torch.stack((-imaginary, real), dim=-1).flatten(-2)
    return (states.float() * cosines + turned * sines).to(states.dtype)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Mask) -> Tensor:
    """Attention over (b, length, heads, head_dim) states; the same shape comes back."""
    query, key, value = (one.transpose(1, 2) for one in (query, key, value))
    if isinstance(mask, BlockMask):
        # inside of a compiled block it is compiled already
        flex = flex_attention if torch.compiler.is_compiling() else _compiled_flex_attention()
        mixed = flex(query, key, value, block_mask=mask)
    else:
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    result: Tensor = _PlainGradient.apply(mixed.transpose(1, 2))
    return result


class _PlainGradient(torch.autograd.Function):
    """The identity; what comes back through it is contiguous.

    A single block's gradient is a slice of wider rows, a double block's is not. cuDNN's plan for
    attention's backward pass reads the gradient at the strides for which it was made, but PyTorch
    (2.11 at least) finds a plan by those of query, key and value alone: one block would get the
    other's plan, and wrong gradients, or read past the end of the memory.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, states: Tensor) -> Tensor:
        return states.view_as(states)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        return gradient.contiguous()


@cache
def _compiled_flex_attention() -> Any:
    # uncompiled, FlexAttention computes all pairs
    return torch.compile(flex_attention, dynamic=True)

"""Attention of the tiny contextgen's base training: the stock one, faster on a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_flux import FluxAttention
from torch import Tensor


class Float32Attention:
    """A processor that computes what diffusers' `FluxAttnProcessor` does, attention in float32.

    Under autocast the stock processor attends in bfloat16, whose backward pass on a CPU takes twice
    as long as that of float32; everything else stays in bfloat16.
    """

    def __call__(
        self,
        attn: FluxAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Called by `FluxAttention`; the mask (b, 1, 1, length) is true for keys that are seen."""
        size = (-1, attn.head_dim)
        query = attn.norm_q(attn.to_q(hidden_states).unflatten(-1, size))
        key = attn.norm_k(attn.to_k(hidden_states).unflatten(-1, size))
        value = attn.to_v(hidden_states).unflatten(-1, size)
        if encoder_hidden_states is not None:
            text_query = attn.norm_added_q(
                attn.add_q_proj(encoder_hidden_states).unflatten(-1, size)
            )
            text_key = attn.norm_added_k(attn.add_k_proj(encoder_hidden_states).unflatten(-1, size))
            text_value = attn.add_v_proj(encoder_hidden_states).unflatten(-1, size)
            query = torch.cat((text_query, query), dim=1)
            key = torch.cat((text_key, key), dim=1)
            value = torch.cat((text_value, value), dim=1)
        if image_rotary_emb is not None:
            query = apply_rotary_emb(query, image_rotary_emb, sequence_dim=1)
            key = apply_rotary_emb(key, image_rotary_emb, sequence_dim=1)
        query, key, value = (one.transpose(1, 2).float() for one in (query, key, value))
        with torch.autocast(query.device.type, enabled=False):
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
        mixed = mixed.transpose(1, 2).flatten(2)
        if encoder_hidden_states is None:
            return mixed
        words = encoder_hidden_states.shape[1]
        image: Tensor = attn.to_out[1](attn.to_out[0](mixed[:, words:]))
        text: Tensor = attn.to_add_out(mixed[:, :words])
        return image, text

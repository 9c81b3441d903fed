"""From encoded samples to the tensors of one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from imig.contextgen.sample import EncodedReference, EncodedSample
from imig.contextgen.settings import AttentionConfig
from imig.contextgen.tokens import ReferenceTokens, SampleTokens, TokenTable, token_table


@dataclass(frozen=True)
class ModelBatch:
    """What the model reads beside the noisy target and the time."""

    ids: tuple[str, ...]
    grid: tuple[int, int]
    """(rows, columns) of target tokens."""
    text: Tensor
    """(b, t, d) T5 features, zero where padded."""
    pooled: Tensor
    """(b, p) CLIP's pooled features."""
    conditions: Tensor
    """(b, m, c) packed latents of layout and references, zero where padded."""
    tokens: TokenTable
    layout: Tensor
    """(b, n, c) packed latents of the layout image, also where it is left out of the sequence."""
    target: Tensor | None
    """(b, n, c) packed latents; None when the pictures are still to be made."""

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> ModelBatch:
        """On a device; the conditions in the dtype of the network, target and layout unchanged."""
        return replace(
            self,
            text=self.text.to(device, dtype),
            pooled=self.pooled.to(device, dtype),
            conditions=self.conditions.to(device, dtype),
            tokens=self.tokens.to(device),
            layout=self.layout.to(device),
            target=None if self.target is None else self.target.to(device),
        )


def make_batch(samples: Sequence[EncodedSample], *, attention: AttentionConfig) -> ModelBatch:
    """Pad samples of one grid to a batch.

    Raises
    ------
    ValueError
        The grids differ, only some samples have a target, or a caption was not encoded as
        `attention.text_length` says.
    """
    lengths = {len(one.text.tokens) for one in samples}
    if attention.text_length != "caption" and lengths != {attention.text_length}:
        raise ValueError(f"captions of {sorted(lengths)} tokens, not {attention.text_length}")
    tokens = token_table(
        [_sample_tokens(one) for one in samples],
        layout=attention.layout,
        drop_background=attention.drop_background,
        position_offsets=attention.position_offsets,
        bfloat16_positions=attention.bfloat16_positions,
    )
    conditions = [_conditions(one, attention) for one in samples]
    longest = tokens.length - tokens.text - tokens.target
    targets = [one.target for one in samples if one.target is not None]
    if targets and len(targets) < len(samples):
        raise ValueError("some samples of the batch have a target and some have none")
    return ModelBatch(
        ids=tuple(one.id for one in samples),
        grid=samples[0].grid,
        text=torch.stack([_padded(one.text.tokens, tokens.text) for one in samples]),
        pooled=torch.stack([one.text.pooled for one in samples]),
        conditions=torch.stack([_padded(one, longest) for one in conditions]),
        tokens=tokens,
        layout=torch.stack([one.layout for one in samples]),
        target=torch.stack(targets) if targets else None,
    )


def _sample_tokens(sample: EncodedSample) -> SampleTokens:
    references = tuple(ReferenceTokens(one.valid.cpu(), one.box) for one in sample.references)
    return SampleTokens(len(sample.text.tokens), sample.grid, references)


def _conditions(sample: EncodedSample, attention: AttentionConfig) -> Tensor:
    parts = [_kept(one, attention.drop_background) for one in sample.references]
    if attention.layout:
        parts.insert(0, sample.layout)
    return torch.cat(parts) if parts else sample.layout[:0]


def _kept(reference: EncodedReference, drop_background: bool) -> Tensor:
    return reference.latents[reference.valid.flatten()] if drop_background else reference.latents


def _padded(rows: Tensor, length: int) -> Tensor:
    """(n, c) -> (length, c), zeros at the end."""
    return F.pad(rows, (0, 0, 0, length - len(rows)))

"""The sizes of what is measured: FLUX's, or a few numbers to prove on a CPU that all of it runs."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmarks.step_parts.setup import FULL, SMALL, Setup

TINY = replace(
    SMALL,
    name="tiny",
    flux=replace(SMALL.flux, attention_head_dim=16, axes_dims_rope=(4, 6, 6)),
    rank=8,
    target=96,
    reference=64,
)


def setup_of(*, small: bool) -> Setup:
    """FLUX.1-Kontext with LoRA of rank 512 at 768 px, or a model of some thousand numbers."""
    return TINY if small else FULL


def dtype_of(device: torch.device) -> torch.dtype:
    """What networks compute in."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32

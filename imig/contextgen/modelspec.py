"""What a model browser shows of an adapter's file: Stability AI's ModelSpec 1.0.0.

Entries `modelspec.*` of a safetensors header, which ComfyUI, SwarmUI, kohya's tools and the hubs
read. Nothing in them depends on when or where a file was written: a date comes from
SOURCE_DATE_EPOCH, which whoever wants one sets, or there is none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from imig.errors import UsageError
from imig.models.families import FAMILIES
from imig.models.weights import TINY

PREFIX: Final = "modelspec."
DATE_VARIABLE: Final = "SOURCE_DATE_EPOCH"
"""Seconds since 1970 (reproducible-builds.org)."""
_FULL_SIZE: Final = {"attention_head_dim": 128, "num_attention_heads": 24}
"""FLUX.1's width, 3072."""


def modelspec_entries(
    *,
    title: str,
    description: str,
    architecture: str,
    width: int,
    licence: str | None,
) -> dict[str, str]:
    """The entries of an adapter; the hash is added by who writes the tensors.

    Parameters
    ----------
    architecture:
        Of `lora_architecture`.
    width:
        Pixels of the side of the square that was trained at.
    licence:
        Of the base weights, which an adapter for them inherits; None: not known.

    Raises
    ------
    UsageError
        SOURCE_DATE_EPOCH is no time.
    """
    entries = {
        "sai_model_spec": "1.0.0",
        "architecture": architecture,
        "title": title,
        "description": description,
        "resolution": f"{width}x{width}",
    }
    if licence is not None:
        entries["license"] = licence
    if (date := source_date()) is not None:
        entries["date"] = date
    return {PREFIX + name: text for name, text in entries.items()}


def source_date() -> str | None:
    """The time that SOURCE_DATE_EPOCH says, in ISO 8601 and UTC; None where it says nothing.

    Raises UsageError when it is no time.
    """
    text = os.environ.get(DATE_VARIABLE)
    if not text:
        return None
    try:
        return datetime.fromtimestamp(int(text), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"{DATE_VARIABLE} is {text[:40]!r}, which is no number of seconds since 1970",
            cure=f"unset {DATE_VARIABLE}, or give a whole number",
        ) from error


def lora_architecture(config: Mapping[str, Any]) -> str:
    """ModelSpec's name of LoRA for a transformer with this configuration of diffusers.

    Kontext and dev are one architecture; schnell has no guidance. What has other widths is neither.
    """
    if any(config.get(name) != value for name, value in _FULL_SIZE.items()):
        return "flux-1/lora"
    return "flux-1-dev/lora" if config.get("guidance_embeds") else "flux-1-schnell/lora"


def weights_licence(weights: str) -> str | None:
    """The licence of base weights that imig's tables know, by what a recipe says of them."""
    if weights == TINY:
        return "apache-2.0"
    name = weights.partition("@")[0]
    return next(
        (
            checkpoint.licence
            for family in FAMILIES.values()
            for checkpoint in family.checkpoints
            if checkpoint.weights == name
        ),
        None,
    )

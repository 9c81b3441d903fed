"""Writes a safetensors file whose bytes depend on nothing but its content."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

_LENGTH_BYTES = 8
"""Of the JSON header's length, little endian, at the head of a file (safetensors' format)."""


def save_tensors(tensors: Mapping[str, Tensor], path: Path, *, metadata: Mapping[str, str]) -> None:
    """Write tensors, aside first and then renamed; equal content gives equal bytes.

    safetensors' own writer has tensors in a fixed order, but several entries of metadata in one
    that changes from process to process.

    Raises OSError when the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".tmp")
    save_file({name: one.contiguous() for name, one in tensors.items()}, aside, dict(metadata))
    _sort_metadata(aside)
    os.replace(aside, path)


def _sort_metadata(path: Path) -> None:
    """Rewrite the header, in its place, with its metadata in the order of the keys."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        # Only the order differs, so the length cannot; the tensors start right behind it.
        assert len(text) <= length, "safetensors escapes its header otherwise than Python"
        file.seek(_LENGTH_BYTES)
        file.write(text.ljust(length))

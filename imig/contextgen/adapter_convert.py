"""An adapter in the style of another program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from imig.contextgen.adapter_styles import (
    MADE_ANEW,
    Style,
    carried_metadata,
    read_adapter,
    to_parts,
    writable_dtype,
    write_parts,
)


@dataclass(frozen=True)
class Converted:
    """An adapter that was written."""

    output: Path
    origin: str
    """The style of the file that was read."""
    style: Style
    dtype: torch.dtype
    ranks: tuple[int, int]
    """The largest of a layer before, and after: layers that are fused have their ranks' sum."""
    left_out: tuple[str, ...]
    """Entries of the old header that are not true of the new file."""
    bytes_before: int
    bytes: int


def convert_adapter(
    path: Path, output: Path, *, style: Style, dtype: torch.dtype | None = None
) -> Converted:
    """Write an adapter with the same effect in the style of another program.

    Parameters
    ----------
    path:
        Of any tool that imig reads.
    dtype:
        Of the file; None: the one that it has, where imig writes that.

    Raises
    ------
    UsageError
        There is no such adapter, it is of another model or kind, or it has what the style has no
        place for.
    DataError
        It is damaged, a number does not fit into `dtype`, or the file cannot be written.
    """
    adapter = read_adapter(path)
    parts = to_parts(adapter, style)
    dtype = writable_dtype(adapter.dtype) if dtype is None else dtype
    size, header = adapter.file.size, adapter.file.header
    kept = carried_metadata(header)
    ranks = write_parts(parts, output, style=style, dtype=dtype, metadata=kept)
    return Converted(
        output=output,
        origin=adapter.origin,
        style=style,
        dtype=dtype,
        ranks=(max(adapter.scale.ranks.values()), max(ranks.values())),
        left_out=tuple(sorted(header.keys() - kept.keys() - MADE_ANEW)),
        bytes_before=size,
        bytes=output.stat().st_size,
    )

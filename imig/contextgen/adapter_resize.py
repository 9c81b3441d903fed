"""An adapter of a smaller rank: the nearest one in every layer, by a singular value decomposition.

A layer's change of the base is the matrix B A. Of all matrices of a rank, the sum of its largest
singular values' terms is nearest to it (Eckart and Young), and what is lost is the energy, the sum
of squares, of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from imig.contextgen.adapter_names import fused_layers
from imig.contextgen.adapter_styles import (
    Part,
    Style,
    carried_metadata,
    read_adapter,
    to_parts,
    writable_dtype,
    write_parts,
)
from imig.errors import UsageError


@dataclass(frozen=True)
class PartSize:
    """What became of a layer."""

    name: str
    rank_before: int
    rank: int
    error: float
    """Frobenius norm of the difference between the layer's change before and as it is written,
    rounding included, by that of the change before; 0 to 1."""


@dataclass(frozen=True)
class Resized:
    """An adapter that was written, and how far it is from the one before."""

    output: Path
    style: Style
    dtype: torch.dtype
    parts: tuple[PartSize, ...]
    error: float
    """As of a layer, over all layers together."""
    bytes_before: int
    bytes: int

    @property
    def worst(self) -> list[PartSize]:
        """The layers, those with the largest error first."""
        return sorted(self.parts, key=lambda one: (-one.error, one.name))


def resize_adapter(
    path: Path,
    output: Path,
    *,
    rank: int | None = None,
    energy: float | None = None,
    style: Style | None = None,
    dtype: torch.dtype | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Resized:
    """Write an adapter with the same effect as nearly as a smaller rank can have it.

    Parameters
    ----------
    rank:
        No layer gets a larger one.
    energy:
        Share of each layer's energy that is kept at least, above 0 and up to 1; each layer gets
        the smallest rank that does (or `rank`, if that is smaller).
    style, dtype:
        Of the file; None: those of the file that is read, where imig writes them.
    progress:
        Called with the number of layers that are done, and that there are.

    Raises
    ------
    UsageError
        Neither rank nor energy is given, or as `imig.contextgen.adapter_styles.read_adapter`.
    DataError
        The adapter is damaged, or the file cannot be written.
    """
    if rank is None and energy is None:
        raise UsageError("neither a rank nor an energy to keep was given")
    adapter = read_adapter(path)
    style = own_style(adapter.origin) if style is None else style
    dtype = writable_dtype(adapter.dtype) if dtype is None else dtype
    bytes_before, metadata = adapter.file.size, carried_metadata(adapter.file.header)
    count = len(fused_layers(adapter.layers) if style == "kohya" else adapter.layers)
    after, sizes, lost, whole = [], [], 0.0, 0.0
    for number, part in enumerate(to_parts(adapter, style), start=1):
        smaller = shrink(part, rank=rank, energy=energy)
        squared, own = _squared_difference(part, smaller, dtype)
        lost, whole = lost + squared, whole + own
        after.append(smaller)
        sizes.append(
            PartSize(part.name, len(part.a), len(smaller.a), (squared / own) ** 0.5 if own else 0.0)
        )
        progress(number, count)
    write_parts(after, output, style=style, dtype=dtype, metadata=metadata)
    return Resized(
        output=output,
        style=style,
        dtype=dtype,
        parts=tuple(sizes),
        error=(lost / whole) ** 0.5 if whole else 0.0,
        bytes_before=bytes_before,
        bytes=output.stat().st_size,
    )


def own_style(origin: str) -> Style:
    """The style that imig writes for a file of this origin: fused layers stay fused."""
    if origin in ("kohya", "comfyui (fused)", "XLabs", "Black Forest Labs"):
        return "kohya"
    return "comfyui" if origin == "comfyui" else "diffusers"


def shrink(part: Part, *, rank: int | None = None, energy: float | None = None) -> Part:
    """The nearest LoRA of a smaller rank; at least 1, and at most the one that it has.

    A and B share the singular values evenly, and the signs are such that each column of B has its
    largest number positive: the outcome does not depend on the decomposition's own.
    """
    # B A = Qb (Rb Ra') Qa': the large matrices are orthogonal, and only one of (rank, rank) is
    # decomposed. float64, so that an energy of 1 keeps what float32 had.
    outer, inner_b = torch.linalg.qr(part.b.double())
    inputs, inner_a = torch.linalg.qr(part.a.double().T)
    left, values, right = torch.linalg.svd(inner_b @ inner_a.T)
    count = _kept(values, rank=rank, energy=energy)
    root = values[:count].sqrt()
    b = outer @ left[:, :count] * root
    a = root[:, None] * (right[:count] @ inputs.T)
    largest = b.gather(0, b.abs().argmax(dim=0, keepdim=True))
    signs = torch.where(largest < 0, -1.0, 1.0).double()
    return replace(part, a=(a * signs.T).float(), b=(b * signs).float())


def _kept(values: Tensor, *, rank: int | None, energy: float | None) -> int:
    """How many singular values stay."""
    most = len(values) if rank is None else min(rank, len(values))
    if energy is None:
        return most
    sums = values.square().cumsum(0)
    # what is next to nothing beside the whole is rounding, and no energy that one could keep
    enough = sums >= energy * sums[-1] * (1 - 1e-12)
    return max(1, min(most, int(enough.int().argmax()) + 1))


def _squared_difference(before: Part, after: Part, dtype: torch.dtype) -> tuple[float, float]:
    """Squared Frobenius norms of (B A - B' A'), with B' and A' rounded, and of B A.

    <B A, B' A'> is the sum over (B' B) * (A A'), products of (rank, rank'): neither matrix of
    (outputs, inputs) is ever made.
    """
    one = before.a.double(), before.b.double()
    two = after.a.to(dtype).double(), after.b.to(dtype).double()
    own = _inner_product(one, one)
    squared = own - 2 * _inner_product(one, two) + _inner_product(two, two)
    return max(0.0, squared), max(0.0, own)


def _inner_product(one: tuple[Tensor, Tensor], two: tuple[Tensor, Tensor]) -> float:
    return float(((one[1].T @ two[1]) * (one[0] @ two[0].T)).sum())

"""The token sequence: what each token is, where it stands, and which tokens take part.

A sample's sequence is ``[text | target | layout | reference 1 | .. | reference N]`` (REFERENCE
3.1). Everything that attention masks and position indices depend on is a small fact about a token;
`token_table` collects them for a batch, and `imig.contextgen.visibility` turns them into masks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imig.contextgen.sample import Box
from imig.layout.reference_size import TOKEN

MAX_REFERENCES = 62
"""The boxes that hold a token are the bits of a signed 64-bit integer."""


class Role(IntEnum):
    """What a token is."""

    PADDING = 0
    TEXT = 1
    TARGET = 2
    LAYOUT = 3
    REFERENCE = 4


@dataclass(frozen=True)
class ReferenceTokens:
    """One reference as tokens."""

    valid: Tensor
    """(rows, columns) bool: the token shows something of the subject."""
    box: Box
    """Pixels of the target."""


@dataclass(frozen=True)
class SampleTokens:
    """One sample as tokens."""

    text: int
    """Number of text tokens."""
    grid: tuple[int, int]
    """(rows, columns) of the target; the layout has as many."""
    references: tuple[ReferenceTokens, ...]


@dataclass(frozen=True)
class TokenTable:
    """Facts about the tokens of a batch, each (b, length); text comes first, padded to `text`."""

    role: Tensor
    """int64, a `Role`."""
    reference: Tensor
    """int64, which reference the token belongs to; -1 for the others."""
    boxes: Tensor
    """int64, bit n is set for target tokens inside the box of reference n; 0 for all others."""
    readable: Tensor
    """bool, whether the token may be a key: no padding, no background of a reference."""
    positions: Tensor
    """(b, length, 3) float32, the rotary indices (m, row, column) of REFERENCE 3.3."""
    text: int
    """Length of the text part, padding included."""
    target: int
    """Number of target tokens; they follow the text."""
    trunk: int
    """Number of text, target and layout tokens: what stays when the references leave."""

    def to(self, device: torch.device | str) -> TokenTable:
        """The same table on a device."""
        return replace(
            self,
            role=self.role.to(device),
            reference=self.reference.to(device),
            boxes=self.boxes.to(device),
            readable=self.readable.to(device),
            positions=self.positions.to(device),
        )

    def first(self, length: int) -> TokenTable:
        """The table of the first `length` tokens."""
        return replace(
            self,
            role=self.role[:, :length],
            reference=self.reference[:, :length],
            boxes=self.boxes[:, :length],
            readable=self.readable[:, :length],
            positions=self.positions[:, :length],
            trunk=min(self.trunk, length),
        )

    @cached_property
    def kinds(self) -> tuple[Tensor, Tensor]:
        """Tokens with the same facts, positions aside, are of one kind.

        A token of each kind, (kinds,) numbers in the flattened table, and the number of each
        token's kind, (b, length); both int64.
        """
        # one number a token: sorting these takes a tenth of the time that sorting rows takes
        rest = (self.role * (MAX_REFERENCES + 1) + self.reference + 1) * 2 + self.readable
        code = torch.where(self.boxes != 0, self.boxes, -1 - rest)
        found, kind_of = torch.unique(code, return_inverse=True)
        numbers = torch.arange(code.numel(), device=code.device)
        example = numbers.new_empty(len(found)).scatter_(0, kind_of.flatten(), numbers)
        return example, kind_of

    @property
    def length(self) -> int:
        """Tokens of a row, padding included."""
        return self.role.shape[1]


def token_table(
    samples: Sequence[SampleTokens],
    *,
    layout: bool = True,
    drop_background: bool = False,
    position_offsets: bool = True,
    bfloat16_positions: bool = False,
) -> TokenTable:
    """The table of a batch; short samples are padded after their text and at the end.

    Parameters
    ----------
    samples:
        All with one grid.
    layout:
        False leaves the layout image out; the references keep the indices that they have with it.
    drop_background:
        Leaves background tokens of references out instead of hiding them (REFERENCE 3.6a, 1).
    position_offsets:
        False begins every reference's rows and columns at 0, where the layout's begin, instead of
        behind the layout and the references before it (REFERENCE 3.3).
    bfloat16_positions:
        Rounds the indices as the released trainer did (REFERENCE 3.6).

    Raises
    ------
    ValueError
        The grids differ, or a sample has more than 62 references.
    """
    if len({one.grid for one in samples}) != 1:
        raise ValueError(f"grids of a batch differ: {sorted({one.grid for one in samples})}")
    text = max(one.text for one in samples)
    target = math.prod(samples[0].grid)
    trunk = text + target * (2 if layout else 1)
    kept = [_kept_tokens(one, drop_background=drop_background) for one in samples]
    length = trunk + max(sum(map(len, one)) for one in kept)
    columns = _Columns.empty(len(samples), length)
    for number, sample in enumerate(samples):
        _fill(
            columns.row(number),
            sample,
            kept[number],
            text=text,
            layout=layout,
            position_offsets=position_offsets,
        )
    positions = torch.from_numpy(columns.positions)
    if bfloat16_positions:
        positions = positions.bfloat16().float()
    return TokenTable(
        role=torch.from_numpy(columns.role),
        reference=torch.from_numpy(columns.reference),
        boxes=torch.from_numpy(columns.boxes),
        readable=torch.from_numpy(columns.readable),
        positions=positions,
        text=text,
        target=target,
        trunk=trunk,
    )


class _Columns(NamedTuple):
    """A table being filled, by NumPy: it starts a small operation in a fifth of PyTorch's time."""

    role: NDArray[np.int64]
    reference: NDArray[np.int64]
    boxes: NDArray[np.int64]
    readable: NDArray[np.bool_]
    positions: NDArray[np.float32]

    @staticmethod
    def empty(batch: int, length: int) -> _Columns:
        """Padding all over."""
        shape = batch, length
        return _Columns(
            role=np.full(shape, Role.PADDING, dtype=np.int64),
            reference=np.full(shape, -1, dtype=np.int64),
            boxes=np.zeros(shape, dtype=np.int64),
            readable=np.zeros(shape, dtype=np.bool_),
            positions=np.zeros((*shape, 3), dtype=np.float32),
        )

    def row(self, number: int) -> _Columns:
        """A view of one sample's."""
        return _Columns(*(one[number] for one in self))


def _kept_tokens(sample: SampleTokens, *, drop_background: bool) -> list[NDArray[np.int64]]:
    """Of each reference the numbers of its tokens that are part of the sequence."""
    if len(sample.references) > MAX_REFERENCES:
        raise ValueError(f"{len(sample.references)} references; at most {MAX_REFERENCES}")
    if drop_background:
        return [one.valid.numpy().ravel().nonzero()[0] for one in sample.references]
    return [np.arange(one.valid.numel()) for one in sample.references]


def _fill(
    row: _Columns,
    sample: SampleTokens,
    kept: Sequence[NDArray[np.int64]],
    *,
    text: int,
    layout: bool,
    position_offsets: bool,
) -> None:
    row.role[: sample.text] = Role.TEXT
    row.readable[: sample.text] = True
    start = text
    for role, time in ((Role.TARGET, 0), (Role.LAYOUT, 1))[: 2 if layout else 1]:
        places = _places(sample.grid)
        here = slice(start, start + len(places))
        row.role[here] = role
        row.readable[here] = True
        row.positions[here, 0] = time
        row.positions[here, 1:] = places
        start = here.stop
    inside = row.boxes[text : text + len(places)].reshape(sample.grid)
    offset = sample.grid if position_offsets else (0, 0)
    for number, (reference, numbers) in enumerate(zip(sample.references, kept, strict=True)):
        inside[_boxed(reference.box)] |= 1 << number
        grid = reference.valid.shape[0], reference.valid.shape[1]
        here = slice(start, start + len(numbers))
        row.role[here] = Role.REFERENCE
        row.reference[here] = number
        row.readable[here] = reference.valid.numpy().ravel()[numbers]
        row.positions[here, 0] = 1
        row.positions[here, 1:] = _places(grid)[numbers] + np.array(offset, np.float32)
        start = here.stop
        if position_offsets:
            offset = offset[0] + grid[0], offset[1] + grid[1]


@lru_cache(maxsize=256)
def _places(grid: tuple[int, int]) -> NDArray[np.float32]:
    """(tokens, 2): row and column of each token of a picture."""
    places = np.indices(grid, dtype=np.float32).reshape(2, -1).T.copy()
    places.flags.writeable = False
    return places


def _boxed(box: Box) -> tuple[slice, slice]:
    """Rows and columns floor(x1 / 16) .. ceil(x2 / 16), likewise y (REFERENCE 3.2)."""
    x1, y1, x2, y2 = (max(edge, 0) / TOKEN for edge in box)
    return slice(math.floor(y1), math.ceil(y2)), slice(math.floor(x1), math.ceil(x2))

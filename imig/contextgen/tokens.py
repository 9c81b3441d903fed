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

import torch
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
    """int64, bit n is set for target tokens inside the box of reference n."""
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

    @property
    def length(self) -> int:
        """Tokens of a row, padding included."""
        return self.role.shape[1]

    @property
    def padding_share(self) -> float:
        """Share of the batch's tokens that are padding."""
        return float((self.role == Role.PADDING).float().mean())


def token_table(
    samples: Sequence[SampleTokens],
    *,
    layout: bool = True,
    drop_background: bool = False,
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
    rows = [
        _sample_facts(one, text=text, layout=layout, drop_background=drop_background)
        for one in samples
    ]
    length = max(len(row) for row in rows)
    facts = torch.zeros(len(rows), length, 7, dtype=torch.int64)
    facts[:, :, 1] = -1
    for number, row in enumerate(rows):
        facts[number, : len(row)] = row
    positions = facts[:, :, 4:].float()
    if bfloat16_positions:
        positions = positions.bfloat16().float()
    target = math.prod(samples[0].grid)
    return TokenTable(
        role=facts[:, :, 0].contiguous(),
        reference=facts[:, :, 1].contiguous(),
        boxes=facts[:, :, 2].contiguous(),
        readable=facts[:, :, 3].bool(),
        positions=positions,
        text=text,
        target=target,
        trunk=text + target * (2 if layout else 1),
    )


def _sample_facts(
    sample: SampleTokens, *, text: int, layout: bool, drop_background: bool
) -> Tensor:
    """(tokens, 7) int64: role, reference, boxes, readable, m, row, column."""
    if len(sample.references) > MAX_REFERENCES:
        raise ValueError(f"{len(sample.references)} references; at most {MAX_REFERENCES}")
    rows, columns = sample.grid
    words = torch.zeros(text, 7, dtype=torch.int64)
    words[:, 1] = -1
    words[: sample.text, 0] = Role.TEXT
    words[: sample.text, 3] = 1
    target = _picture_facts(Role.TARGET, sample.grid, time=0)
    for number, reference in enumerate(sample.references):
        target[:, 2] |= boxed_tokens(reference.box, sample.grid).flatten().long() << number
    parts = [words, target]
    if layout:
        parts.append(_picture_facts(Role.LAYOUT, sample.grid, time=1))
    row_offset, column_offset = rows, columns
    for number, reference in enumerate(sample.references):
        height, width = reference.valid.shape
        facts = _picture_facts(
            Role.REFERENCE, (height, width), time=1, offset=(row_offset, column_offset)
        )
        valid = reference.valid.flatten().bool()
        facts[:, 1] = number
        facts[:, 3] = valid.long()
        parts.append(facts[valid] if drop_background else facts)
        row_offset, column_offset = row_offset + height, column_offset + width
    return torch.cat(parts)


def _picture_facts(
    role: Role, grid: tuple[int, int], *, time: int, offset: tuple[int, int] = (0, 0)
) -> Tensor:
    rows, columns = grid
    facts = torch.zeros(rows, columns, 7, dtype=torch.int64)
    facts[..., 0] = role
    facts[..., 1] = -1
    facts[..., 3] = 1
    facts[..., 4] = time
    facts[..., 5] = torch.arange(rows)[:, None] + offset[0]
    facts[..., 6] = torch.arange(columns)[None] + offset[1]
    return facts.flatten(0, 1)


def boxed_tokens(box: Box, grid: tuple[int, int]) -> Tensor:
    """(rows, columns) bool: floor(x1 / 16) .. ceil(x2 / 16), likewise y (REFERENCE 3.2)."""
    rows, columns = grid
    x1, y1, x2, y2 = box
    row, column = torch.arange(rows)[:, None], torch.arange(columns)[None]
    inside = (row >= math.floor(y1 / TOKEN)) & (row < math.ceil(y2 / TOKEN))
    return inside & (column >= math.floor(x1 / TOKEN)) & (column < math.ceil(x2 / TOKEN))

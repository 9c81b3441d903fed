"""Attention masks of CLA and ICA: one function, from which every form of mask is made.

`visible` says whether a query token sees a key token. Tokens with the same facts see the same and
are seen alike, and a batch has a few dozen kinds of them: `visible` is asked about kinds. A CPU
gets the dense mask of all pairs; a GPU gets FlexAttention's form, which skips blocks without a
visible pair, so that no mask of all pairs ever exists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from imig.contextgen.tokens import Role, TokenTable

Kind = Literal["cla", "ica"]
Variant = Literal["released", "paper"]
Mask = Tensor | BlockMask | None
"""Bool (b, 1, length, length), FlexAttention's form, or None: everything sees everything."""
BLOCK = 128
"""Queries and keys of a block: FlexAttention's own size."""
WORD = 64
"""Bits of an integer."""


class Facts(NamedTuple):
    """Columns of a `TokenTable` in shapes that broadcast against those of the other side."""

    role: Tensor
    reference: Tensor
    boxes: Tensor
    readable: Tensor


def visible(query: Facts, key: Facts, *, kind: Kind, variant: Variant) -> Tensor:
    """Whether `query` sees `key`; bool, of the shape to which the two broadcast.

    CLA (paper eq. 3): text, target and layout see each other; reference n sees text and itself.
    ICA `released` (REFERENCE 3.2): CLA, and a target token in box n sees reference n too.
    ICA `paper` (eq. 4): a target token in box n sees only text, the target tokens in box n, and
    reference n; a token in several boxes sees the union; outside every box as CLA.
    Padding sees the text, so that no row of a softmax is empty; nobody sees it.
    """
    text_key = key.role == Role.TEXT
    reference_query, reference_key = query.role == Role.REFERENCE, key.role == Role.REFERENCE
    padding = (query.role == Role.PADDING) | (key.role == Role.PADDING)
    trunk = ~reference_query & ~reference_key & ~padding
    own = reference_query & reference_key & (query.reference == key.reference)
    seen = trunk | own | text_key
    if kind == "ica":
        target_query = query.role == Role.TARGET
        shifted = query.boxes >> key.reference.clamp(min=0)
        linked = target_query & reference_key & ((shifted & 1) == 1)
        if variant == "released":
            seen = seen | linked
        else:
            same_box = (key.role == Role.TARGET) & ((query.boxes & key.boxes) != 0)
            boxed = target_query & (query.boxes != 0)
            seen = torch.where(boxed, text_key | same_box | linked, seen)
    return seen & key.readable


def dense_mask(tokens: TokenTable, *, kind: Kind, variant: Variant) -> Tensor:
    """(b, 1, length, length) bool; rows are queries.

    Queries of a kind have one row between them, which is made once and copied.
    """
    table, kind_of = kinds_seen(tokens, kind=kind, variant=variant)
    batch, length = kind_of.shape
    rows = table[:, kind_of].transpose(0, 1)  # (b, kinds, length)
    first = torch.arange(batch, device=kind_of.device)[:, None] * len(table)
    seen = rows.flatten(0, 1).index_select(0, (kind_of + first).flatten())
    return seen.view(batch, 1, length, length)


def block_mask(tokens: TokenTable, *, kind: Kind, variant: Variant) -> BlockMask:
    """FlexAttention's mask: which blocks of 128 x 128 pairs have visible ones, which only such.

    The pairs of a block are counted kind by kind. It is what PyTorch's `create_block_mask` makes,
    which evaluates all pairs, or must be compiled.
    """
    table, kind_of = kinds_seen(tokens, kind=kind, variant=variant)
    counts = _counts_in_blocks(kind_of, kinds=len(table))
    # within a training step's autocast 16,380 of 16,384 pairs would round up to all of them
    with torch.autocast(counts.device.type, enabled=False):
        pairs = counts @ table.float() @ counts.mT
    full = pairs == BLOCK * BLOCK
    mask: BlockMask = BlockMask.from_kv_blocks(
        *_listed((pairs > 0) & ~full),
        *_listed(full),
        BLOCK_SIZE=BLOCK,
        mask_mod=_mask_function(table, kind_of),
        seq_lengths=(tokens.length, tokens.length),
    )
    return mask


def kinds_seen(tokens: TokenTable, *, kind: Kind, variant: Variant) -> tuple[Tensor, Tensor]:
    """Which kind of token sees which, (kinds, kinds) bool, and the kind of each, (b, length)."""
    example, kind_of = tokens.kinds
    columns = (tokens.role, tokens.reference, tokens.boxes, tokens.readable)
    facts = [one.flatten()[example] for one in columns]
    query, key = (Facts(*(one.unsqueeze(side) for one in facts)) for side in (1, 0))
    return visible(query, key, kind=kind, variant=variant), kind_of


def _counts_in_blocks(kind_of: Tensor, *, kinds: int) -> Tensor:
    """(b, blocks, kinds) float32: how many tokens of each kind a block of the sequence has.

    Float32 is exact here (and TF32, too): no number of this module is above 128 x 128.
    """
    blocks = -(-kind_of.shape[1] // BLOCK)
    # what fills the last block up is of one more kind, which is left out of the counts
    filled = F.pad(kind_of, (0, blocks * BLOCK - kind_of.shape[1]), value=kinds)
    filled = filled.view(-1, blocks, BLOCK)
    counts = torch.zeros(len(filled), blocks, kinds + 1, device=kind_of.device)
    counts.scatter_add_(2, filled, torch.ones_like(filled, dtype=counts.dtype))
    return counts[..., :kinds]


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """(b, rows, columns) bool as FlexAttention has it: how many a row, (b, 1, rows), and which."""
    numbers = blocks.sum(-1, dtype=torch.int32)
    indices = torch.argsort(blocks.byte(), dim=-1, descending=True, stable=True).int()
    return numbers[:, None], indices[:, None]


def _mask_function(table: Tensor, kind_of: Tensor) -> Callable[..., Tensor]:
    """What FlexAttention asks about each pair in a block where only some are visible.

    By their number the 20 integer operations of `visible` would cost a GPU more than a pair's
    products do. So keys that the same queries see are one group, and a query has a bit for each:
    8 references make 11 groups.
    """
    seen, group_of = torch.unique(table, dim=1, return_inverse=True)
    groups = seen.shape[1]
    group = group_of[kind_of]
    if groups > WORD:

        def looked_up(sample: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            found: Tensor = seen[kind_of[sample, query], group[sample, key]]
            return found

        return looked_up
    bits = (seen.long() << torch.arange(groups, device=seen.device)).sum(-1)[kind_of]

    def sees(sample: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        bit: Tensor = (bits[sample, query] >> group[sample, key]) & 1
        return bit == 1

    return sees


def attention_mask(tokens: TokenTable, *, kind: Kind, variant: Variant) -> Mask:
    """The mask in the form that fits the table's device; None where it would be all True."""
    if (
        tokens.length == tokens.trunk
        and bool(tokens.readable.all())
        and _all_see_all(kind, variant)
    ):
        return None
    if tokens.role.device.type == "cuda":
        return block_mask(tokens, kind=kind, variant=variant)
    return dense_mask(tokens, kind=kind, variant=variant)


def _all_see_all(kind: Kind, variant: Variant) -> bool:
    """Whether text, target and layout alone all see each other."""
    return kind == "cla" or variant == "released"

"""Attention masks of CLA and ICA: one function, from which every form of mask is made.

`visible` says whether a query token sees a key token. The dense mask evaluates it on all pairs (a
CPU, tests); on a GPU FlexAttention evaluates it inside its kernel and skips blocks without a
visible pair, so that no mask of all pairs ever exists.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from imig.contextgen.tokens import Role, TokenTable

Kind = Literal["cla", "ica"]
Variant = Literal["released", "paper"]
Mask = Tensor | BlockMask | None
"""Bool (b, 1, length, length), FlexAttention's form, or None: everything sees everything."""


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
    """(b, 1, length, length) bool; rows are queries."""
    columns = tokens.role, tokens.reference, tokens.boxes, tokens.readable
    query = Facts(*(one[:, None, :, None] for one in columns))
    key = Facts(*(one[:, None, None, :] for one in columns))
    return visible(query, key, kind=kind, variant=variant)


def block_mask(
    tokens: TokenTable, *, kind: Kind, variant: Variant, compiled: bool = True
) -> BlockMask:
    """FlexAttention's mask: which blocks of 128 x 128 pairs have a visible one.

    `compiled` fuses the function into the reduction over a block; without it (a CPU, tests)
    PyTorch holds all pairs for a moment.
    """
    role, reference, boxes, readable = (
        tokens.role,
        tokens.reference,
        tokens.boxes,
        tokens.readable,
    )

    def at(sample: Tensor, token: Tensor) -> Facts:
        return Facts(
            role[sample, token],
            reference[sample, token],
            boxes[sample, token],
            readable[sample, token],
        )

    def sees(sample: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return visible(at(sample, query), at(sample, key), kind=kind, variant=variant)

    mask: BlockMask = create_block_mask(
        sees,
        B=role.shape[0],
        H=None,
        Q_LEN=tokens.length,
        KV_LEN=tokens.length,
        device=role.device,
        _compile=compiled,
    )
    return mask


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

"""Masks by hand, and FlexAttention's form against the dense one."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch.nn.attention.flex_attention import create_mask

from imig.contextgen.tokens import (
    ReferenceTokens,
    Role,
    SampleTokens,
    TokenTable,
    boxed_tokens,
    token_table,
)
from imig.contextgen.visibility import attention_mask, block_mask, dense_mask


def two_samples() -> TokenTable:
    valid = torch.tensor([[True, False], [True, True]])
    big = SampleTokens(
        3,
        (3, 3),
        (ReferenceTokens(valid, (0, 0, 32, 32)), ReferenceTokens(valid.T, (16, 16, 48, 48))),
    )
    small = SampleTokens(2, (3, 3), (ReferenceTokens(valid, (0, 0, 16, 48)),))
    return token_table([big, small])


@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.parametrize("kind", ["cla", "ica"])
def test_flex_attention_sees_the_same(
    kind: Literal["cla", "ica"], variant: Literal["released", "paper"]
) -> None:
    tokens = two_samples()
    dense = dense_mask(tokens, kind=kind, variant=variant)
    flex = block_mask(tokens, kind=kind, variant=variant, compiled=False)
    batch, length = tokens.role.shape
    evaluated = create_mask(flex.mask_mod, batch, 1, length, length, device="cpu")
    assert torch.equal(evaluated, dense)
    assert dense.any(-1).all(), "no query without a key"


def test_ica_of_the_paper() -> None:
    tokens = two_samples()
    sees = dense_mask(tokens, kind="ica", variant="paper")[0, 0]
    target = tokens.text
    corner, middle, outside = target, target + 4, target + 2
    reference = [(tokens.reference[0] == n) & tokens.readable[0] for n in (0, 1)]
    layout = tokens.role[0] == Role.LAYOUT
    first_box = {target + i for i in (0, 1, 3, 4)}
    second_box = {target + i for i in (4, 5, 7, 8)}
    keys = set(sees[corner].nonzero().flatten().tolist())
    text = set(range(tokens.text))
    assert keys == text | first_box | set(reference[0].nonzero().flatten().tolist())
    keys = set(sees[middle].nonzero().flatten().tolist())
    both = set((reference[0] | reference[1]).nonzero().flatten().tolist())
    assert keys == text | first_box | second_box | both
    assert sees[outside, layout].all(), "outside every box a target token sees what it sees in CLA"
    assert not sees[outside, reference[0]].any()


def test_text_never_sees_references() -> None:
    tokens = two_samples()
    for kind in ("cla", "ica"):
        sees = dense_mask(tokens, kind=kind, variant="released")
        words = tokens.role == Role.TEXT
        references = tokens.role == Role.REFERENCE
        assert not (sees[:, 0] & words[:, :, None] & references[:, None, :]).any()


def test_no_mask_where_all_see_all() -> None:
    sample = SampleTokens(3, (2, 2), ())
    assert attention_mask(token_table([sample]), kind="cla", variant="released") is None
    padded = token_table([sample, SampleTokens(2, (2, 2), ())])
    assert attention_mask(padded, kind="cla", variant="released") is not None


def test_boxed_tokens_round_outwards() -> None:
    assert boxed_tokens((17, 15, 33, 32), (3, 4)).tolist() == [
        [False, True, True, False],
        [False, True, True, False],
        [False, False, False, False],
    ]


def test_positions() -> None:
    valid = torch.ones(2, 1, dtype=torch.bool)
    references = (ReferenceTokens(valid, (0, 0, 16, 16)), ReferenceTokens(valid, (0, 0, 16, 16)))
    tokens = token_table([SampleTokens(1, (2, 3), references)])
    place = tokens.positions[0].int().tolist()
    assert place[0] == [0, 0, 0]
    assert place[1:4] == [[0, 0, 0], [0, 0, 1], [0, 0, 2]]
    assert place[7:9] == [[1, 0, 0], [1, 0, 1]]
    assert place[13:] == [[1, 2, 3], [1, 3, 3], [1, 4, 4], [1, 5, 4]]
    rounded = token_table([SampleTokens(1, (2, 300), ())], bfloat16_positions=True)
    assert rounded.positions[0, 1 + 257, 2] == 256, "257 is 256 in bfloat16"


def test_grids_must_agree() -> None:
    with pytest.raises(ValueError, match="grids of a batch differ"):
        token_table([SampleTokens(1, (2, 2), ()), SampleTokens(1, (2, 3), ())])

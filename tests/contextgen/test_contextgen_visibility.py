"""Masks by hand, and FlexAttention's form against the dense one."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, create_mask

from imig.contextgen.tokens import (
    ReferenceTokens,
    Role,
    SampleTokens,
    TokenTable,
    token_table,
)
from imig.contextgen.visibility import Facts, attention_mask, block_mask, dense_mask, visible


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
    flex = block_mask(tokens, kind=kind, variant=variant)
    batch, length = tokens.role.shape
    evaluated = create_mask(flex.mask_mod, batch, 1, length, length, device="cpu")
    assert torch.equal(evaluated, dense)
    assert dense.any(-1).all(), "no query without a key"


def long_samples(references: int) -> TokenTable:
    """Sequences of several blocks of 128 tokens, of different lengths, with overlapping boxes."""
    generator = torch.Generator().manual_seed(references)
    samples = []
    for text, count in ((70, references), (31, max(1, references // 2))):
        made = []
        for number in range(count):
            valid = torch.rand(6, 5 + number % 3, generator=generator) < 0.8
            corner = 16 * (number % 9)
            made.append(ReferenceTokens(valid, (corner, 8 * (number % 5), corner + 90, 150)))
        samples.append(SampleTokens(text, (12, 16), tuple(made)))
    return token_table(samples, drop_background=references < 10)


@pytest.mark.parametrize("references", [3, 62])
@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.parametrize("kind", ["cla", "ica"])
def test_kinds_of_tokens_see_what_each_of_their_tokens_sees(
    kind: Literal["cla", "ica"], variant: Literal["released", "paper"], references: int
) -> None:
    tokens = long_samples(references)
    columns = tokens.role, tokens.reference, tokens.boxes, tokens.readable
    expected = visible(
        Facts(*(one[:, :, None] for one in columns)),
        Facts(*(one[:, None, :] for one in columns)),
        kind=kind,
        variant=variant,
    )
    assert torch.equal(dense_mask(tokens, kind=kind, variant=variant)[:, 0], expected)
    assert len(tokens.kinds[0]) < tokens.length


def lists(mask: BlockMask) -> list[list[list[int]]]:
    """Blocks of a mask that are partly and wholly visible, a list for each row of blocks."""
    assert mask.full_kv_num_blocks is not None
    assert mask.full_kv_indices is not None
    result = []
    for numbers, indices in (
        (mask.kv_num_blocks, mask.kv_indices),
        (mask.full_kv_num_blocks, mask.full_kv_indices),
    ):
        rows = zip(numbers.flatten().tolist(), indices.flatten(0, 2).tolist(), strict=True)
        result.append([row[:number] for number, row in rows])
    return result


@pytest.mark.parametrize("references", [3, 62])  # few groups of keys, and more than 64
@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.parametrize("kind", ["cla", "ica"])
def test_blocks_are_those_that_pytorch_finds(
    kind: Literal["cla", "ica"], variant: Literal["released", "paper"], references: int
) -> None:
    tokens = long_samples(references)
    dense = dense_mask(tokens, kind=kind, variant=variant)
    ours = block_mask(tokens, kind=kind, variant=variant)
    batch, length = tokens.role.shape
    assert torch.equal(create_mask(ours.mask_mod, batch, 1, length, length, device="cpu"), dense)
    expected = create_block_mask(
        lambda b, h, q, k: dense[b, 0, q, k], batch, 1, length, length, device="cpu"
    )
    assert ours.shape == expected.shape
    assert lists(ours) == lists(expected)
    assert all(any(one) for one in lists(ours)), "the case has both kinds of blocks"
    for name in ("q_num_blocks", "full_q_num_blocks"):
        assert torch.equal(getattr(ours, name), getattr(expected, name))


def test_blocks_are_the_same_in_bfloat16() -> None:
    """A training step asks for masks within autocast, whose products have 8 bits."""
    four = ReferenceTokens(torch.ones(2, 2, dtype=torch.bool), (16, 0, 2048, 16))
    others = ReferenceTokens(torch.ones(4, 31, dtype=torch.bool), (0, 0, 2048, 16))
    # of all pairs of the target with the references, the first token's with the four are hidden
    tokens = token_table([SampleTokens(128, (1, 128), (four, others))])
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            mask = block_mask(tokens, kind="ica", variant="released")
        assert mask.full_kv_num_blocks is not None
        assert mask.full_kv_num_blocks.flatten().tolist() == [3, 3, 3, 1]
        assert mask.kv_num_blocks.flatten().tolist() == [0, 1, 0, 1]


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
    reference = ReferenceTokens(torch.ones(1, 1, dtype=torch.bool), (17, 15, 33, 32))
    tokens = token_table([SampleTokens(0, (3, 4), (reference,))])
    assert tokens.boxes[0, : tokens.target].bool().view(3, 4).tolist() == [
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
    bare = token_table([SampleTokens(1, (2, 3), references)], position_offsets=False)
    assert bare.positions[0, :13].equal(tokens.positions[0, :13])
    assert bare.positions[0, 13:].int().tolist() == 2 * [[1, 0, 0], [1, 1, 0]]
    rounded = token_table([SampleTokens(1, (2, 300), ())], bfloat16_positions=True)
    assert rounded.positions[0, 1 + 257, 2] == 256, "257 is 256 in bfloat16"


def test_grids_must_agree() -> None:
    with pytest.raises(ValueError, match="grids of a batch differ"):
        token_table([SampleTokens(1, (2, 2), ()), SampleTokens(1, (2, 3), ())])

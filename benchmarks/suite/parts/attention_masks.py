"""Masks and position indices of a batch, by `imig.contextgen` and by the released trainer's way.

The released way makes dense masks of all pairs, with captions padded to 512 tokens. Ours on a GPU
makes FlexAttention's lists of blocks, which are made here on the processor; ours on a CPU makes
dense masks too, of fewer tokens. A CPU trains small models only, so there the sizes are theirs;
copying a dense mask's rows is what is left of it, and no bar is set.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from benchmarks.step_parts.released import dense_masks, image_positions
from benchmarks.step_parts.samples import tokens_of
from benchmarks.step_parts.setup import FULL, Setup
from benchmarks.suite.rows import Bar, Row
from benchmarks.suite.turns import seconds_in_turn
from imig.contextgen.tokens import SampleTokens, TokenTable, token_table
from imig.contextgen.visibility import Mask, block_mask, dense_mask

FILL = 0.6
"""Share of the references' tokens that show something of the subject."""
TINY = replace(FULL, name="tiny", target=192, reference=96, text=40)
"""As the recipe `train-tiny` has it."""
BAR = Bar(at_least=20)


def measure(*, small: bool) -> list[Row]:
    """`ratio` is the released way's time over ours."""
    torch.set_num_threads(1)
    if small:
        return [_row(TINY, block_mask, batch=2, repeats=1, bar=BAR)]
    return [
        _row(FULL, block_mask, batch=1, repeats=10, bar=BAR),
        _row(FULL, block_mask, batch=4, repeats=5, bar=BAR),
        _row(TINY, dense_mask, batch=8, repeats=30, bar=None),
    ]


def ours(samples: Sequence[SampleTokens], form: Callable[..., Mask]) -> None:
    """Every mask that a forward pass needs: CLA, ICA, and that of the last blocks."""
    tokens = token_table(samples, drop_background=True)
    for kind in ("cla", "ica"):
        form(tokens, kind=kind, variant="released")
    trunk = tokens.first(tokens.trunk)
    if _is_padded(trunk):
        form(trunk, kind="cla", variant="released")


def theirs(samples: Sequence[SampleTokens], *, text: int) -> None:
    """CLA's and ICA's mask of the batch, and its position indices."""
    device = torch.device("cpu")
    masks = [dense_masks(one, text=text, device=device) for one in samples]
    for number in range(2):
        torch.stack([one[number] for one in masks])
    torch.stack([image_positions(one) for one in samples])


def _is_padded(tokens: TokenTable) -> bool:
    return not bool(tokens.readable.all())


def _row(
    setup: Setup, form: Callable[..., Mask], *, batch: int, repeats: int, bar: Bar | None
) -> Row:
    samples = tokens_of(setup, batch=batch, fill=FILL)
    seconds = seconds_in_turn(
        {
            "ours": partial(ours, samples, form),
            "theirs": partial(theirs, samples, text=setup.padded_text),
        },
        repeats=repeats,
        clock=time.process_time,
    )
    what = "blocks, for a GPU" if form is block_mask else "dense, for a CPU"
    return Row(
        part="attention_masks",
        case=f"{setup.target} px, 4 references of {setup.reference} px, batch {batch}; {what}",
        unit="ms",
        ours=seconds["ours"] * 1000,
        theirs=seconds["theirs"] * 1000,
        against="peer: the released trainer's way",
        ratio=seconds["theirs"] / seconds["ours"],
        bar=bar,
    )

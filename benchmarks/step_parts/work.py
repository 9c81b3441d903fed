"""How much both ways compute: the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.step_parts.ours import ATTENTION
from benchmarks.step_parts.samples import tokens_of
from benchmarks.step_parts.setup import Setup
from imig.contextgen.flops import BlockLoad, Work, batch_work, forward_work
from imig.contextgen.model import block_kinds
from imig.contextgen.tokens import SampleTokens, token_table
from imig.contextgen.visibility import BLOCK, block_mask

WANTED = 0.6
"""Of the released way's operations, ours may have so many at full size."""
FILLS = (0.6, 0.8, 1.0)
"""Shares of the references' tokens that show something of the subject.

REFERENCE 3.6a counts with 60 %; of the demo's 438 references in 200 scenes it is 57 % (a tenth has
more than 68 %). A crop around a disc has 79 %, a picture without background 100 %.
"""
BATCHES = (1, 4)


@dataclass(frozen=True)
class Row:
    """Both ways on one batch; operations of forward and backward pass."""

    batch: int
    fill: float
    text: int
    """Tokens of our longest caption."""
    tokens: int
    """Of a sample of ours, padding included, while the references are there."""
    trunk: int
    """The same, after they have left."""
    released_tokens: int
    ours: float
    """Operations of a sample."""
    blocks: float
    """The same, with attention counted in whole blocks of 128 x 128, as a GPU computes it."""
    released: float

    @property
    def ratio(self) -> float:
        """Ours to released."""
        return self.ours / self.released


def our_work(setup: Setup, samples: Sequence[SampleTokens]) -> Work:
    """A forward pass of `imig.contextgen.model.ContextGen`."""
    kinds = block_kinds(setup.flux.blocks, ATTENTION.ica)
    return batch_work(
        setup.sizes,
        token_table(samples, drop_background=ATTENTION.drop_background),
        kinds,
        variant=ATTENTION.variant,
        leave=references_leave_before(setup),
        rank=setup.rank,
    )


def released_work(setup: Setup, samples: Sequence[SampleTokens]) -> Work:
    """A forward pass with dense masks: every pair is computed, whether visible or not."""
    image = 2 * setup.grid[0] * setup.grid[1]
    image += sum(one.valid.numel() for one in samples[0].references)
    length = setup.padded_text + image
    load = BlockLoad(
        text=len(samples) * setup.padded_text,
        image=len(samples) * image,
        pairs=len(samples) * length**2,
    )
    return forward_work(setup.sizes, [load] * setup.flux.blocks, rank=setup.rank)


def references_leave_before(setup: Setup) -> int:
    """The first block without references."""
    kinds = block_kinds(setup.flux.blocks, ATTENTION.ica)
    return max(number + 1 for number, kind in enumerate(kinds) if kind == "ica")


def count_row(
    setup: Setup, *, batch: int, fill: float, checkpoint_blocks: float, text: int | None = None
) -> Row:
    """Counts both ways; see `tokens_of` for the batch.

    The released way recomputes all blocks, or none where ours does not recompute any.
    """
    samples = tokens_of(setup, batch=batch, fill=fill, text=text)
    table = token_table(samples, drop_background=ATTENTION.drop_background)
    ours = our_work(setup, samples)
    more = _pairs_in_blocks(setup, samples) * 4 * _width(setup) - ours.attention
    recomputed = released_share(checkpoint_blocks)
    return Row(
        batch=batch,
        fill=fill,
        text=table.text,
        tokens=table.length,
        trunk=table.trunk,
        released_tokens=setup.padded_text
        + 2 * table.target
        + sum(one.valid.numel() for one in samples[0].references),
        ours=ours.training(recomputed=checkpoint_blocks) / batch,
        blocks=(ours + Work(attention=more)).training(recomputed=checkpoint_blocks) / batch,
        released=released_work(setup, samples).training(recomputed=recomputed) / batch,
    )


def released_share(checkpoint_blocks: float) -> float:
    """Share of the blocks that the released way recomputes."""
    return float(checkpoint_blocks > 0)


def count_rows(setup: Setup, *, checkpoint_blocks: float) -> list[Row]:
    """The batches that the table shows; the last has captions as long as they can be."""
    rows = [
        count_row(setup, batch=batch, fill=fill, checkpoint_blocks=checkpoint_blocks)
        for batch in BATCHES
        for fill in FILLS
    ]
    longest = count_row(
        setup,
        batch=1,
        fill=FILLS[0],
        checkpoint_blocks=checkpoint_blocks,
        text=setup.padded_text,
    )
    return [*rows, longest]


def _width(setup: Setup) -> int:
    return setup.flux.attention_head_dim * setup.flux.num_attention_heads


def _pairs_in_blocks(setup: Setup, samples: Sequence[SampleTokens]) -> int:
    """Pairs of all blocks of the network, where a block of 128 x 128 counts whole or not at all."""
    tokens = token_table(samples, drop_background=ATTENTION.drop_background)
    kinds, leave = block_kinds(setup.flux.blocks, ATTENTION.ica), references_leave_before(setup)
    trunk = tokens.first(tokens.trunk)
    total = 0
    for kind in ("cla", "ica"):
        mask = block_mask(tokens, kind=kind, variant=ATTENTION.variant)
        total += kinds[:leave].count(kind) * _computed(mask)
    mask = block_mask(trunk, kind="cla", variant=ATTENTION.variant)
    return total + (len(kinds) - leave) * _computed(mask)


def _computed(mask: object) -> int:
    counts = (getattr(mask, name) for name in ("kv_num_blocks", "full_kv_num_blocks"))
    return sum(int(one.sum()) for one in counts) * BLOCK**2

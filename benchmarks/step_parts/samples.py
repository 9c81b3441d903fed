"""Random samples of the sizes that real ones have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.step_parts.setup import VARY_FILL, VARY_TEXT, Setup
from imig.contextgen.sample import EncodedReference, EncodedSample, TextEmbedding
from imig.contextgen.tokens import ReferenceTokens, SampleTokens


@dataclass(frozen=True)
class Draw:
    """What one step learns from."""

    samples: tuple[EncodedSample, ...]
    """On the CPU, as a data loader gives them."""
    noise: Tensor
    """(b, n, c) float32, as large as the targets; on the CPU."""
    t: Tensor
    """(b,) float32 in [0, 1]; on the CPU."""


def subject_mask(grid: tuple[int, int], fill: float) -> Tensor:
    """(rows, columns) bool: a disc of the tokens nearest to the middle, `fill` of all."""
    rows, columns = grid
    row = (torch.arange(rows)[:, None] + 0.5) / rows - 0.5
    column = (torch.arange(columns)[None] + 0.5) / columns - 0.5
    nearest = (row**2 + column**2).flatten().argsort(stable=True)
    mask = torch.zeros(rows * columns, dtype=torch.bool)
    mask[nearest[: round(fill * rows * columns)]] = True
    return mask.view(rows, columns)


def tokens_of(
    setup: Setup, *, batch: int, fill: float, text: int | None = None
) -> list[SampleTokens]:
    """A batch as tokens, without their values: for counting.

    Parameters
    ----------
    fill:
        Share of the references' tokens that show something of the subject, on average.
    text:
        Tokens of every caption; None: the setup's, about which a batch varies.
    """
    samples = []
    for number in range(batch):
        vary = number % len(VARY_TEXT)
        length = round(setup.text * VARY_TEXT[vary]) if text is None else text
        mask = subject_mask(setup.reference_grid, min(1.0, fill + VARY_FILL[vary]))
        references = tuple(ReferenceTokens(mask, box) for box in setup.boxes)
        samples.append(SampleTokens(length, setup.grid, references))
    return samples


def draw(setup: Setup, *, batch: int, fill: float, seed: int, text: int | None = None) -> Draw:
    """A batch with random values; arguments as those of `tokens_of`."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    channels = setup.flux.in_channels
    target = setup.grid[0] * setup.grid[1]
    samples = [
        EncodedSample(
            id=f"{seed}-{number}",
            text=TextEmbedding(
                normal(one.text, setup.flux.joint_attention_dim),
                normal(setup.flux.pooled_projection_dim),
            ),
            grid=one.grid,
            layout=normal(target, channels),
            references=tuple(
                EncodedReference(normal(each.valid.numel(), channels), each.valid, each.box)
                for each in one.references
            ),
            target=normal(target, channels),
        )
        for number, one in enumerate(tokens_of(setup, batch=batch, fill=fill, text=text))
    ]
    return Draw(
        samples=tuple(samples),
        noise=normal(batch, target, channels),
        t=torch.sigmoid(normal(batch)),
    )


def targets(samples: Sequence[EncodedSample]) -> Tensor:
    """(b, n, c) of samples that all have one."""
    return torch.stack([one.target for one in samples if one.target is not None])

"""Do both ways compute the same? Losses and gradients on the same samples, in float32."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.step_parts.ours import OurWay
from benchmarks.step_parts.released import ReleasedWay
from benchmarks.step_parts.samples import draw
from benchmarks.step_parts.setup import Setup, fill_randomly, random_transformer, twin_of
from imig.contextgen.adapter import adapter_parameters

BATCH = 2
LOSS_APART = 1e-4
"""A mask of the wrong kind moves the losses by more than 5e-4, and the gradients by 2 %."""
GRADIENT_APART = {"cpu": 1e-4, "cuda": 2e-3}
"""A GPU's kernels add products up in other orders."""


@dataclass(frozen=True)
class Agreement:
    """The largest differences, relative to the figures themselves."""

    losses: tuple[float, ...]
    """Ours, of each sample."""
    loss: float
    gradient: float
    """Of an adapter parameter's gradient, relative to the largest entry of all gradients."""


def check_agreement(setup: Setup, *, device: torch.device, checkpoint_blocks: float) -> Agreement:
    """Compares ours with the released way on captions that need no padding.

    With padding they differ, because the released way lets every token see it.

    Raises
    ------
    AssertionError
        They differ.
    """
    first = random_transformer(setup.flux, device=device, dtype=torch.float32, seed=1)
    second = twin_of(first, setup.flux)
    ours = OurWay(first, setup, checkpoint_blocks=checkpoint_blocks)
    released = ReleasedWay(second, setup, checkpointed=checkpoint_blocks > 0, padded=False)
    for transformer in (first, second):
        generator = torch.Generator(device).manual_seed(2)
        for name, parameter in adapter_parameters(transformer).items():
            fill_randomly(name, parameter, generator)
    given = draw(setup, batch=BATCH, fill=0.6, seed=3, text=setup.text)
    losses = []
    for way in (ours, released):
        loss = way.losses(given)
        loss.mean().backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
    pairs = [
        (one.grad, other.grad)
        for one, other in zip(ours.parameters, released.parameters, strict=True)
        if one.grad is not None and other.grad is not None
    ]
    scale = max(float(other.abs().max()) for _, other in pairs)
    apart = max(float((one - other).abs().max()) for one, other in pairs)
    result = Agreement(
        losses=tuple(losses[0].tolist()),
        loss=float(((losses[0] - losses[1]) / losses[1]).abs().max()),
        gradient=apart / scale,
    )
    if len(pairs) < 0.9 * len(ours.parameters):
        raise AssertionError(f"only {len(pairs)} of {len(ours.parameters)} have a gradient")
    if not result.loss <= LOSS_APART:
        raise AssertionError(f"losses differ: {result}")
    if not result.gradient <= GRADIENT_APART[device.type]:
        raise AssertionError(f"gradients differ: {result}")
    return result

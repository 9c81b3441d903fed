"""Drawing: from noise to the target's latents in a few Euler steps of the flow."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor

from imig.contextgen.batch import ModelBatch
from imig.contextgen.model import ContextGen


def flow_times(
    steps: int, *, tokens: int, scheduler: FlowMatchEulerDiscreteScheduler | None = None
) -> Tensor:
    """(steps + 1,) float32 times from 1 to 0.

    Equal steps where there is no scheduler; else shifted as the pipeline of the weights does: more
    steps at high noise the more tokens the picture has.
    """
    times = torch.linspace(1, 0, steps + 1)
    if scheduler is None:
        return times
    shift = calculate_shift(
        tokens,
        scheduler.config.get("base_image_seq_len", 256),
        scheduler.config.get("max_image_seq_len", 4096),
        scheduler.config.get("base_shift", 0.5),
        scheduler.config.get("max_shift", 1.15),
    )
    dynamic = scheduler.config.get("use_dynamic_shifting", False)
    scheduler.set_timesteps(sigmas=times[:-1].tolist(), mu=shift if dynamic else None)
    shifted: Tensor = scheduler.sigmas.float().cpu()
    return shifted


def noise_of(seeds: list[int], *, tokens: int, channels: int) -> Tensor:
    """(b, tokens, channels) float32; each picture's noise is drawn on the CPU from its own seed."""
    return torch.stack(
        [
            torch.randn(tokens, channels, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
    )


@torch.no_grad()
def sample(
    model: ContextGen,
    batch: ModelBatch,
    *,
    seeds: list[int],
    steps: int = 28,
    guidance: float = 1.0,
    scheduler: FlowMatchEulerDiscreteScheduler | None = None,
    progress: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Packed latents (b, n, c) float32 of one picture for each sample of the batch.

    Parameters
    ----------
    batch:
        On the model's device; its target, if any, is not looked at.
    seeds:
        One for each sample: its picture depends on nothing else.
    scheduler:
        See `flow_times`.
    progress:
        Called with the number of steps done.

    Raises
    ------
    ValueError
        When there are not as many seeds as samples.
    """
    count, tokens, channels = batch.layout.shape
    if len(seeds) != count:
        raise ValueError(f"{len(seeds)} seeds for {count} samples")
    device = batch.layout.device
    state = noise_of(seeds, tokens=tokens, channels=channels).to(device)
    times = flow_times(steps, tokens=tokens, scheduler=scheduler).tolist()
    for number, (now, then) in enumerate(pairwise(times)):
        t = torch.full((count,), now, device=device)
        velocity = model(batch, noisy=state, t=t, guidance=guidance)
        state = state + (then - now) * velocity
        progress(number + 1)
    return state

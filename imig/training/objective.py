"""What a step minimises: flow matching, and diffusion-DPO against a frozen reference.

Everything here is float32, whatever the network computes in. The released trainer took DPO's
differences in bfloat16, where one last digit near 0.4 is 0.002 and beta / 2 makes a whole nat of it
(REFERENCE 3.6).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from imig.contextgen.batch import ModelBatch
from imig.training.recipe import DpoObjective, FlowObjective


class VelocityModel(Protocol):
    """`imig.contextgen.model.ContextGen`, bare or wrapped for several processes."""

    def __call__(
        self, batch: ModelBatch, *, noisy: Tensor, t: Tensor, guidance: float
    ) -> Tensor: ...


@dataclass(frozen=True)
class DpoFigures:
    """The loss of a DPO step, and what to watch; all float32."""

    loss: Tensor
    """(b,), with a graph; the others have none."""
    winner: Tensor
    """(b,) flow-matching loss of the trained model on the targets."""
    loser: Tensor
    """(b,) the same on the layout images; grows when the model turns away from them."""
    margin: Tensor
    """(b,) the sigmoid's argument: above 0 the model prefers the target more than the reference."""
    accuracy: Tensor
    """() share of the samples whose margin is above 0."""


def draw_timesteps(
    count: int, *, objective: FlowObjective | DpoObjective, generator: torch.Generator
) -> Tensor:
    """Times t of a batch, (count,) float32 in [0, 1], on the generator's device.

    `logit-normal` is sigmoid(N(mean, deviation)) (REFERENCE 3.5; Esser et al. 2024, section 3.1),
    which draws the middle of the way more often than its ends.
    """
    device = generator.device
    if objective.timesteps == "uniform":
        return torch.rand(count, generator=generator, device=device)
    normal = torch.randn(count, generator=generator, device=device)
    return torch.sigmoid(objective.mean + objective.deviation * normal)


def flow_loss(
    model: VelocityModel, batch: ModelBatch, *, noise: Tensor, t: Tensor, guidance: float
) -> Tensor:
    """Flow-matching loss of each sample on its target, (b,) float32 (REFERENCE 3.5).

    Parameters
    ----------
    noise:
        (b, n, c) standard normal, as large as the target.
    t:
        (b,) float32 in [0, 1]; 1 is pure noise.
    guidance:
        What a model that was distilled with guidance is told; the released trainer says 1.

    Raises
    ------
    ValueError
        The batch has no target.
    """
    return _clean_loss(model, batch, _target_of(batch), noise=noise, t=t, guidance=guidance)


def dpo_loss(
    model: VelocityModel,
    batch: ModelBatch,
    *,
    noise: Tensor,
    t: Tensor,
    guidance: float,
    beta: float,
    reference: Callable[[], AbstractContextManager[object]],
) -> DpoFigures:
    """Diffusion-DPO: prefer the target to the layout image, at the same noise and time.

    loss = -log sigmoid(-beta / 2 * ((Lw - Ll) - (Lw_ref - Ll_ref))) with the flow-matching losses L
    of winner (target) and loser (layout image) under the trained and the reference model (REFERENCE
    3.5; Wallace et al. 2023, equation 14).

    Parameters
    ----------
    noise, t, guidance:
        As those of `flow_loss`.
    reference:
        Gives a context in which `model` is the reference: the adapter off, or the adapter that
        training started from in its place.

    Raises
    ------
    ValueError
        The batch has no target.
    """
    target = _target_of(batch)

    def losses() -> tuple[Tensor, Tensor]:
        # Two forwards, not one of a doubled batch: winner and loser share every other input.
        winner = _clean_loss(model, batch, target, noise=noise, t=t, guidance=guidance)
        loser = _clean_loss(model, batch, batch.layout, noise=noise, t=t, guidance=guidance)
        return winner, loser

    # The reference comes first, while no graph of the trained model takes up memory.
    with torch.no_grad(), reference():
        winner_reference, loser_reference = losses()
    winner, loser = losses()
    margin = -beta / 2 * ((winner - loser) - (winner_reference - loser_reference))
    return DpoFigures(
        loss=-F.logsigmoid(margin),
        winner=winner.detach(),
        loser=loser.detach(),
        margin=margin.detach(),
        accuracy=(margin.detach() > 0).float().mean(),
    )


def _clean_loss(
    model: VelocityModel,
    batch: ModelBatch,
    clean: Tensor,
    *,
    noise: Tensor,
    t: Tensor,
    guidance: float,
) -> Tensor:
    """(b,) mean squared error of the velocity on the way from `clean` (b, n, c) to the noise."""
    clean, noise, t = clean.float(), noise.float(), t.float()
    share = t[:, None, None]
    noisy = (1 - share) * clean + share * noise
    velocity = model(batch, noisy=noisy, t=t, guidance=guidance).float()
    return (velocity - (noise - clean)).square().mean(dim=(1, 2))


def _target_of(batch: ModelBatch) -> Tensor:
    if batch.target is None:
        raise ValueError(f"the batch of {', '.join(batch.ids)} has no target to learn from")
    return batch.target

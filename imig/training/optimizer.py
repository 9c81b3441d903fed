"""Optimizers, learning-rate schedules, gradient clipping, and the moving average."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.optim.lr_scheduler import LambdaLR

from imig.errors import UsageError
from imig.training.prodigy import Prodigy
from imig.training.recipe import OptimizerConfig


def make_optimizer(
    parameters: Iterable[nn.Parameter], config: OptimizerConfig
) -> torch.optim.Optimizer:
    """Prodigy, AdamW, or AdamW with 8-bit states over the parameters, as one group.

    Raises
    ------
    UsageError
        `adamw8bit` without bitsandbytes, or over parameters that FSDP2 has split.
    """
    chosen = list(parameters)
    if config.kind == "prodigy":
        return Prodigy(
            chosen,
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            slice_p=config.slice_p,
        )
    if config.kind == "adamw":
        return torch.optim.AdamW(
            chosen,
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            # reads and writes everything once, where PyTorch's own choice makes seven passes
            fused=all(one.device.type == "cuda" for one in chosen) or None,
        )
    return _adamw8bit(chosen, config)


def make_scheduler(
    optimizer: torch.optim.Optimizer, config: OptimizerConfig, steps: int
) -> LambdaLR:
    """Linear warm-up, then constant or by a cosine towards 0 at `steps`; `.step()` after each step.

    The first step already has a rate: of `warmup_steps` steps, step k (from 1) has k of so many
    parts.
    """
    warmup = config.warmup_steps

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if config.schedule == "constant":
            return 1.0
        done = (step - warmup) / max(1, steps - warmup)
        return (1 + math.cos(math.pi * min(done, 1.0))) / 2

    return LambdaLR(optimizer, factor)


def learning_rate(optimizer: torch.optim.Optimizer) -> float:
    """The rate of the next step; of Prodigy, its own estimate times the schedule's."""
    group = optimizer.param_groups[0]
    return float(group["lr"]) * float(group.get("d", 1.0))


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale all gradients down to a joint norm of at most `max_norm`.

    Returns
    -------
    The norm before, () on the device: reading it waits for the device, so read it when logging.
    Over parameters that FSDP2 has split it is the norm of the whole, the same on every process.
    """
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


class Average:
    """Exponential moving average of parameters: average = decay * average + (1 - decay) * value.

    Parameters
    ----------
    parameters:
        By name, for example `imig.contextgen.adapter.adapter_parameters`. After `fully_shard` each
        process averages its part.
    decay:
        Of a step, for example 0.999. Early on it is smaller, (1 + n) / (10 + n) at the n-th update,
        so that the start does not weigh for thousands of steps (as in diffusers' EMAModel).
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], *, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._parameters = dict(parameters)
        self._values = {name: one.detach().clone() for name, one in parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters' present values; call it after each optimizer step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in self._values.items():
            value.lerp_(self._parameters[name].detach(), 1 - decay)

    @contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        """Within, the parameters have their averages as values, to validate, draw and save with.

        `model` is what the parameters belong to: FSDP2 may still hold values that it gathered
        before, and is made to gather them again.
        """
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    @torch.no_grad()
    def capture(self) -> None:
        """Start over from the parameters' present values (after loading them)."""
        for name, value in self._values.items():
            value.copy_(self._parameters[name].detach())

    @torch.no_grad()
    def _swap(self, model: nn.Module) -> None:
        fold_up(model)
        for name, value in self._values.items():
            parameter = self._parameters[name].detach()
            held = parameter.clone()
            parameter.copy_(value)
            value.copy_(held)


def fold_up(model: nn.Module) -> None:
    """Make FSDP2 let go of parameters that it gathered: each process has its parts again."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _adamw8bit(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    cure = "or take optimizer.kind=adamw"
    try:
        bitsandbytes = importlib.import_module("bitsandbytes")
    except ImportError as error:
        raise UsageError(
            "optimizer.kind=adamw8bit needs bitsandbytes, which is not installed",
            cure=f"`pip install bitsandbytes`, {cure}",
        ) from error
    if any(isinstance(one, DTensor) for one in parameters):
        raise UsageError(
            "optimizer.kind=adamw8bit does not work on parameters that parallel=fsdp has split",
            cure=f"set parallel=ddp, {cure}",
        )
    optimizer: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
    )
    return optimizer

"""Prodigy (Mishchenko and Defazio 2023): Adam that finds its own learning rate.

The arithmetic is that of `prodigyopt` with the released trainer's settings (bias correction,
safeguarded warm-up, decoupled weight decay), and a test holds the two against each other. Ours is
there because that package reads two numbers of every parameter back from the device in every step
(686 tensors for FLUX's adapter), and fails on parameters that FSDP2 has split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, cast, overload

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor


class Prodigy(torch.optim.Optimizer):
    """Adam at the rate d * lr, where d is estimated from gradients and the way from the start.

    Parameters
    ----------
    lr:
        Factor on the estimate: leave it at 1, a schedule may change it.
    d0:
        First estimate; it only ever grows.
    slice_p:
        Statistics for the estimate are kept for every so-manieth column of a matrix only. (The
        package takes every so-manieth number, which comes out differently when a matrix is split.)
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        lr: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        d0: float = 1e-6,
        slice_p: int = 1,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "d0": d0,
            "d": d0,
            "d_max": d0,
            "d_numerator": 0.0,
            "steps": 0,
            "slice_p": slice_p,
        }
        super().__init__(parameters, defaults)
        if len(self.param_groups) > 1:
            raise ValueError("Prodigy estimates one rate for all: give it one group of parameters")

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step along the gradients; a rate of 0 changes nothing."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        group = self.param_groups[0]
        parameters = [one for one in group["params"] if one.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = _first_state(parameter, group["slice_p"])
        if group["lr"] == 0 or not parameters:
            return loss
        rate = _rate(group)
        numerator, denominator = self._estimate(parameters, group, rate)
        if denominator > 0:
            _update_estimate(group, numerator, denominator)
            self._move(parameters, group, rate)
            group["steps"] += 1
        return loss

    def _estimate(
        self, parameters: list[Tensor], group: dict[str, Any], rate: float
    ) -> tuple[float, float]:
        """Move the averages on; numerator and denominator of the new estimate."""
        beta1, beta2 = group["betas"]
        beta3, d, d0 = math.sqrt(beta2), group["d"], group["d0"]
        numerators, denominators = [], []
        for parameter in parameters:
            state = {name: _local(value) for name, value in self.state[parameter].items()}
            value, gradient = _local(parameter), _local(cast(Tensor, parameter.grad))
            some_value = _some(value, group["slice_p"])
            some_gradient = _some(gradient, group["slice_p"])
            numerators.append(((state["p0"] - some_value) * some_gradient).sum())
            state["exp_avg"].mul_(beta1).add_(gradient, alpha=d * (1 - beta1))
            state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=d * d * (1 - beta2))
            state["s"].mul_(beta3).add_(some_gradient, alpha=d / d0 * d)
            denominators.append(state["s"].abs().sum())
        sums = torch.stack((torch.stack(numerators), torch.stack(denominators))).double().sum(1)
        _sum_over_shards(sums, parameters[0])
        numerator, denominator = sums.tolist()  # the step's only wait for the device
        return group["d_numerator"] * beta3 + d / d0 * rate * numerator, denominator

    def _move(self, parameters: list[Tensor], group: dict[str, Any], rate: float) -> None:
        for parameter in parameters:
            state = {name: _local(value) for name, value in self.state[parameter].items()}
            value = _local(parameter)
            scale = state["exp_avg_sq"].sqrt().add_(group["d"] * group["eps"])
            value.add_(value, alpha=-group["weight_decay"] * rate)
            value.addcdiv_(state["exp_avg"], scale, value=-rate)


def _rate(group: dict[str, Any]) -> float:
    """d * lr, with Adam's bias correction."""
    beta1, beta2 = group["betas"]
    step = group["steps"] + 1
    return float(group["d"] * group["lr"] * math.sqrt(1 - beta2**step) / (1 - beta1**step))


def _update_estimate(group: dict[str, Any], numerator: float, denominator: float) -> None:
    estimate = numerator / denominator
    group["d_numerator"] = numerator
    group["d_max"] = max(group["d_max"], estimate)
    group["d"] = group["d_max"]


def _first_state(parameter: Tensor, slice_p: int) -> dict[str, Tensor]:
    """Sharded as the parameter is, so that a run may go on with another number of processes."""
    start = _some(parameter.detach(), slice_p).clone(memory_format=torch.contiguous_format)
    return {
        "p0": start,
        "s": torch.zeros_like(start),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }


def _some(value: Tensor, slice_p: int) -> Tensor:
    """Every so-manieth column; FSDP2 splits rows, so these are the same on any number of ranks."""
    return value if slice_p == 1 or value.dim() < 2 else value[..., ::slice_p]


def _local(value: Tensor) -> Tensor:
    return value.to_local() if isinstance(value, DTensor) else value


def _sum_over_shards(sums: Tensor, parameter: Tensor) -> None:
    """Add up, in place, what the processes found in their parts of the parameters."""
    if not isinstance(parameter, DTensor):
        return
    for dimension, placement in enumerate(parameter.placements):
        if placement.is_shard():
            dist.all_reduce(sums, group=parameter.device_mesh.get_group(dimension))

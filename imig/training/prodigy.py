"""Prodigy (Mishchenko and Defazio 2023): Adam that finds its own learning rate.

The arithmetic is that of `prodigyopt` with the released trainer's settings (bias correction,
safeguarded warm-up, decoupled weight decay), and a test holds the two against each other. Ours is
there because that package reads two numbers of every parameter back from the device in every step
(686 tensors for FLUX's adapter), and fails on parameters that FSDP2 has split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast, overload

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

CHUNK = 2**26
"""Numbers that are moved in one go; as much again is held meanwhile (256 MiB in float32)."""


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
        numerators: list[Tensor] = []
        denominators: list[Tensor] = []
        for chunk in _chunks(parameters):
            gradients = [_local(cast(Tensor, one.grad)) for one in chunk]
            some_gradients = [_some(one, group["slice_p"]) for one in gradients]
            values = [_some(_local(one), group["slice_p"]) for one in chunk]
            ways = torch._foreach_sub(self._states(chunk, "p0"), values)
            torch._foreach_mul_(ways, some_gradients)
            numerators += [one.sum() for one in ways]
            averages = self._states(chunk, "exp_avg")
            torch._foreach_mul_(averages, beta1)
            torch._foreach_add_(averages, gradients, alpha=d * (1 - beta1))
            squares = self._states(chunk, "exp_avg_sq")
            torch._foreach_mul_(squares, beta2)
            torch._foreach_addcmul_(squares, gradients, gradients, value=d * d * (1 - beta2))
            sums = self._states(chunk, "s")
            torch._foreach_mul_(sums, beta3)
            torch._foreach_add_(sums, some_gradients, alpha=d / d0 * d)
            denominators += [one.sum() for one in torch._foreach_abs(sums)]
        found = torch.stack((torch.stack(numerators), torch.stack(denominators))).double().sum(1)
        _sum_over_shards(found, parameters[0])
        numerator, denominator = found.tolist()  # the step's only wait for the device
        return group["d_numerator"] * beta3 + d / d0 * rate * numerator, denominator

    def _move(self, parameters: list[Tensor], group: dict[str, Any], rate: float) -> None:
        for chunk in _chunks(parameters):
            values = [_local(one) for one in chunk]
            scales = torch._foreach_sqrt(self._states(chunk, "exp_avg_sq"))
            torch._foreach_add_(scales, group["d"] * group["eps"])
            torch._foreach_add_(values, values, alpha=-group["weight_decay"] * rate)
            torch._foreach_addcdiv_(values, self._states(chunk, "exp_avg"), scales, value=-rate)

    def _states(self, parameters: Sequence[Tensor], name: str) -> list[Tensor]:
        return [_local(self.state[one][name]) for one in parameters]


def _chunks(parameters: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """In order, for one launch each: many at a time, few enough for what is held beside them."""
    chunk: list[Tensor] = []
    numbers = 0
    for one in parameters:
        chunk.append(one)
        numbers += _local(one).numel()
        if numbers >= CHUNK:
            yield chunk
            chunk, numbers = [], 0
    if chunk:
        yield chunk


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

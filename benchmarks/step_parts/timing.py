"""Both ways in turns: seconds of a step, memory, and what share of the device is used."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from benchmarks.step_parts.samples import Draw
from imig.training.device_figures import device_peak_flops
from imig.training.optimizer import clip_gradients

CLIP = 0.5


class Way(Protocol):
    """A way to make a step: `OurWay`, `ReleasedWay`."""

    name: str
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer

    def losses(self, given: Draw) -> Tensor:
        """(b,) float32, with a graph."""


@dataclass
class Measured:
    """Steps of one way."""

    name: str
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    """Most memory that tensors took, without what the other way keeps; None on a CPU."""
    flops: list[float] = field(default_factory=list)
    """Of each step, forward and backward pass without recomputation."""

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)

    @property
    def flops_per_second(self) -> float:
        """Of all steps together."""
        return sum(self.flops) / sum(self.seconds)

    def mfu(self, device: torch.device) -> float | None:
        """Share of the device's peak that the step's operations take (recomputation is no use).

        None where the peak is not known.
        """
        peak = device_peak_flops(device)
        return None if peak is None else self.flops_per_second / peak


def make_step(way: Way, given: Draw) -> float:
    """Forward, backward, clipping and optimizer; gives the loss, for which it waits."""
    loss = way.losses(given).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    clip_gradients(way.parameters, CLIP)
    way.optimizer.step()
    way.optimizer.zero_grad(set_to_none=True)
    value = float(loss.detach())
    if value != value:
        raise ValueError(f"{way.name}: the loss is not a number")
    return value


def timed_step(way: Way, given: Draw, device: torch.device) -> float:
    """Seconds of a step, from an idle device to an idle device.

    On a CPU seconds of processor time, which leave out what other programs do meanwhile.
    """
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    _wait(device)
    started = clock()
    make_step(way, given)
    _wait(device)
    return clock() - started


def measure_in_turns(
    ways: Sequence[Way],
    draws: Sequence[Draw],
    flops: Sequence[Sequence[float]],
    *,
    warm_up: int,
    device: torch.device,
) -> list[Measured]:
    """Every way on every batch, in turns; who begins changes, and the first batches do not count.

    Parameters
    ----------
    flops:
        For each way, those of each batch.
    """
    measured = [Measured(one.name) for one in ways]
    for number, given in enumerate(draws):
        turns = list(range(len(ways)))
        for place in turns if number % 2 == 0 else reversed(turns):
            way, result = ways[place], measured[place]
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            seconds = timed_step(way, given, device)
            if number < warm_up:
                continue
            result.seconds.append(seconds)
            result.flops.append(flops[place][number])
            if device.type == "cuda":
                others = sum(kept_bytes(one) for one in ways if one is not way)
                peak = torch.cuda.max_memory_allocated(device) - others
                result.peak_bytes = max(result.peak_bytes or 0, peak)
    return measured


def kept_bytes(way: Way) -> int:
    """What a way keeps on the device between its steps: adapter and optimizer states."""
    states = [
        value
        for state in way.optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor)
    ]
    return sum(one.numel() * one.element_size() for one in [*way.parameters, *states])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

"""Seconds and memory on a device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch

GIB = 2**30


@dataclass(frozen=True)
class Seconds:
    """Several runs of the same."""

    median: float
    fastest: float
    slowest: float


@dataclass
class Peak:
    """The most memory that tensors took, all together."""

    gib: float | None = None
    """None on a CPU, which does not know whose memory it is."""


def seconds_of(
    run: Callable[[], object], *, device: torch.device, repeats: int, warm_up: int = 2
) -> Seconds:
    """Times a run from an idle device to an idle device, after some that do not count."""
    for _ in range(warm_up):
        run()
    taken = []
    for _ in range(repeats):
        wait_for(device)
        started = time.perf_counter()
        run()
        wait_for(device)
        taken.append(time.perf_counter() - started)
    return Seconds(median(taken), min(taken), max(taken))


def seconds_back_to_back(
    run: Callable[[], object], *, device: torch.device, repeats: int, warm_up: int = 3
) -> float:
    """Mean seconds of runs that follow each other without waiting: for kernels of milliseconds."""
    for _ in range(warm_up):
        run()
    wait_for(device)
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    wait_for(device)
    return (time.perf_counter() - started) / repeats


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Fills the peak in when the context ends."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield peak
    if device.type == "cuda":
        peak.gib = torch.cuda.max_memory_allocated(device) / GIB


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def relative_error(found: torch.Tensor, true: torch.Tensor) -> float:
    """‖found - true‖ / ‖true‖, at least in float32; NaN stays NaN."""
    dtype = torch.promote_types(true.dtype, torch.float32)
    return float((found.to(dtype) - true.to(dtype)).norm() / true.to(dtype).norm())

"""Which workers share a GPU, as Ray places them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

HAIR: Final = 1e-6
"""As `imig.engine.cluster` compares."""


@dataclass(frozen=True)
class Asking:
    """Workers of one kind, and what each asks for."""

    name: str
    gpus: float
    workers: int


def place(asking: Sequence[Asking]) -> list[list[str]]:
    """The kinds of workers on each GPU, one entry a worker.

    As Ray places actors, in their order: a fraction goes to the fullest GPU that has room for it, a
    whole GPU must be free. GPUs are added as needed. Of a worker with several GPUs all is on the
    first. One that asks for none sees them all, and its models take the first.
    """
    free: list[float] = []
    placed: list[list[str]] = []
    for one in asking:
        for _ in range(one.workers):
            number = _choose(free, one.gpus)
            while number + max(1, round(one.gpus)) > len(free):
                free.append(1.0)
                placed.append([])
            if one.gpus > 1:
                free[number : number + round(one.gpus)] = [0.0] * round(one.gpus)
            else:
                free[number] -= one.gpus
            placed[number].append(one.name)
    return placed


def _choose(free: Sequence[float], gpus: float) -> int:
    """The GPU that a worker gets; the number after the last: a new one."""
    if gpus == 0:
        return 0
    room = [number for number, one in enumerate(free) if one >= gpus - HAIR]
    return min(room, key=lambda one: (free[one], one)) if room and gpus <= 1 else len(free)


def fullest(placed: Sequence[Sequence[str]], worker_bytes: Mapping[str, int]) -> int:
    """Bytes on the GPU that holds most, from those of a worker of each kind."""
    return max(sum(worker_bytes[name] for name in workers) for workers in placed)

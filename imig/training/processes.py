"""What the processes of one training agree on; with a single process all of it is trivial."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist

from imig.errors import ImigError

Result = TypeVar("Result")

WORKING_ALONE: Final = threading.Lock()
"""Held while process 0 does what needs none of the others, such as writing a checkpoint."""


def process_rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def process_count() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def on_first_process(function: Callable[[], Result]) -> Result:
    """Run `function` on process 0 and give its result, which can be pickled, to all.

    Every process must call this. An error for people is raised on all of them, so that none is left
    waiting for the others.
    """
    if process_count() == 1:
        return function()
    outcome: list[Any] = [None, None]
    if process_rank() == 0:
        try:
            with WORKING_ALONE:
                outcome[0] = function()
        except ImigError as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    result: Result = outcome[0]
    return result


def gather_objects(value: Result) -> list[Result]:
    """The value of each process, in the order of their ranks, on all of them."""
    if process_count() == 1:
        return [value]
    values: list[Any] = [None] * process_count()
    dist.all_gather_object(values, value)
    return values


def any_process(flag: bool, *, device: torch.device | str = "cpu") -> bool:
    """Whether the flag is up on any process; `device` is where their collectives run."""
    return bool(highest(int(flag), device=device))


def highest(value: int, *, device: torch.device | str = "cpu") -> int:
    """The highest of the values of all processes; `device` as for `any_process`."""
    if process_count() == 1:
        return value
    tensor = torch.tensor(value, device=device)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return int(tensor.item())

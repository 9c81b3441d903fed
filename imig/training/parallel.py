"""Several processes as torchrun starts them: DDP shares gradients, FSDP2 weights too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from imig.contextgen.model import ContextGen
from imig.errors import UsageError
from imig.models.device import choose_device
from imig.training.liveness import looking_after_each_other
from imig.training.processes import process_count

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: one draws pictures, compiles, or reads a cold disk."""


def find_device(setting: str) -> torch.device:
    """`choose_device`, with the cure in a training's words where there is no GPU at all."""
    if setting.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(
            f"device={setting}, but PyTorch sees no GPU", cure="--set device=cpu, or device=auto"
        )
    return choose_device(setting)


@contextmanager
def joined_processes(device: str) -> Iterator[torch.device]:
    """The device of this process, in the group of processes that torchrun made, if it did.

    `device` is a recipe's; raises as `find_device` does, and DataError where another process is
    lost.
    """
    chosen = find_device(device)
    if "LOCAL_RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield chosen
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    if dist.is_initialized():
        yield chosen
        return
    store, rank, world = next(rendezvous("env://", timeout=PATIENCE))
    with looking_after_each_other(
        PrefixStore("imig", store), rank=rank, world=world, patience=PATIENCE
    ):
        # objects (random states, errors) travel by gloo, gradients by nccl
        backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
        in_order = False
        try:
            yield chosen
            in_order = True
        finally:
            # NCCL would wait for a process that is lost
            if in_order or chosen.type == "cpu":
                dist.destroy_process_group()


def share_model(
    model: ContextGen, parallel: Literal["ddp", "fsdp"], *, device: torch.device
) -> nn.Module:
    """The model as the processes run it together; itself where there is only one.

    FSDP2 splits the parameters of `model` in place: make the optimizer afterwards.
    """
    if process_count() == 1:
        return model
    if parallel == "ddp":
        ids = [device] if device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True)
    mesh = init_device_mesh(device.type, (process_count(),))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def gradients_stay(model: nn.Module, stay: bool) -> AbstractContextManager[object]:
    """Within, a backward pass adds gradients up without sharing them with the other processes."""
    if isinstance(model, DistributedDataParallel) and stay:
        kept: AbstractContextManager[object] = model.no_sync()
        return kept
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(not stay)
    return nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """A tensor that FSDP2 may have split, gathered; all processes must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

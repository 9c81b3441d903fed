"""Run by torchrun in a test: a few steps of a training by two processes.

`two_processes.py OUTPUT`: trains an adapter on eight fixed samples, split over the processes, in
each of the ways of `CASES`, and writes its values and the losses.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from imig.contextgen.adapter import adapter_parameters, add_adapter
from imig.contextgen.batch import make_batch
from imig.contextgen.model import ContextGen
from imig.contextgen.settings import AttentionConfig
from imig.training.objective import flow_loss
from imig.training.optimizer import Average, clip_gradients, make_optimizer
from imig.training.parallel import gradients_stay, joined_processes, share_model, whole
from imig.training.processes import process_count, process_rank
from imig.training.recipe import OptimizerConfig
from support.contextgen_samples import random_sample, small_transformer

STEPS, SAMPLES, ACCUMULATE = 4, 4, 2
CASES = {
    f"{parallel} {kind} {dtype}": (parallel, kind, dtype)
    for parallel, kind, dtype in (
        ("ddp", "adamw", "float32"),
        ("ddp", "prodigy", "float32"),
        ("fsdp", "adamw", "float32"),
        ("fsdp", "prodigy", "float32"),
        ("fsdp", "adamw", "bfloat16"),
    )
}


def main(output: Path) -> None:
    """Trains all cases; process 0 writes."""
    results = train_all()
    if int(os.environ["RANK"]) == 0:
        torch.save(results, output)


def train_all() -> dict[str, dict[str, Any]]:
    """What `train` gives in each of the cases, in this process or in the group of torchrun's."""
    torch.set_num_threads(1)
    with joined_processes("cpu") as device:
        return {name: train(*case, device=device) for name, case in CASES.items()}


def train(parallel: str, kind: str, dtype: str, *, device: torch.device) -> dict[str, Any]:
    """Values and averages of the adapter, losses and gradient norms of the steps."""
    transformer = small_transformer().to(getattr(torch, dtype))
    add_adapter(transformer, rank=4, alpha=4, seed=0)
    attention = AttentionConfig()
    model = ContextGen(transformer, attention=attention, checkpoint_blocks=0.5)
    shared = share_model(model, "fsdp" if parallel == "fsdp" else "ddp", device=device)
    parameters = adapter_parameters(transformer)
    config = OptimizerConfig.model_validate(
        {"kind": kind, "learning_rate": 1.0 if kind == "prodigy" else 1.0e-2}
    )
    optimizer = make_optimizer(parameters.values(), config)
    average = Average(parameters, decay=0.5)
    losses = []
    for step in range(STEPS):
        total = torch.zeros(())
        for part in range(ACCUMULATE):
            # a process's batch is every so-manieth of the step's samples
            numbers = range(part * SAMPLES, (part + 1) * SAMPLES)[process_rank() :: process_count()]
            batch = make_batch(
                [random_sample(number) for number in numbers], attention=attention
            ).to(device, getattr(torch, dtype))
            noise = torch.stack([noise_of(step, number) for number in numbers])
            t = torch.tensor([(0.1 + 0.2 * step + 0.05 * number) % 1 for number in numbers])
            with gradients_stay(shared, part + 1 < ACCUMULATE):
                loss = flow_loss(shared, batch, noise=noise, t=t, guidance=1.0)
                (loss.mean() / ACCUMULATE).backward()  # type: ignore[no-untyped-call]
            total += loss.detach().mean() / ACCUMULATE
        norm = clip_gradients(parameters.values(), 0.5)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update()
        if process_count() > 1:
            torch.distributed.all_reduce(total)
            total /= process_count()
        losses.append((float(total), float(norm)))
    values = {name: whole(one).detach().clone() for name, one in parameters.items()}
    with average.swapped(shared):
        averages = {name: whole(one).detach().clone() for name, one in parameters.items()}
    return {"values": values, "averages": averages, "losses": losses}


def noise_of(step: int, number: int) -> torch.Tensor:
    """(n, c) noise of a sample in a step, whichever process has it."""
    generator = torch.Generator().manual_seed(1000 * step + number)
    return torch.randn(random_sample(number).layout.shape, generator=generator)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The training loop of all tiny checkpoints: plain, and exact after an interruption.

The batch of a step is a function of (seed, step) alone, so a checkpoint needs no data position: a
run that was killed and started again ends with the same bits as an undisturbed one (on a CPU).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tools.tiny.progress import Progress

Batch = Mapping[str, Any]
MakeBatch = Callable[[np.random.Generator], Batch]
"""From the step's own random numbers to tensors (on the CPU) and plain values."""
Losses = Callable[[Batch], dict[str, Tensor]]
"""Scalars; "loss" is minimised, the others are only shown."""


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast. The learning rate warms up, stays flat, and falls by a cosine."""

    name: str
    steps: int
    learning_rate: float = 1e-3
    warmup: int = 200
    flat: float = 0.4
    """Share of the steps after which the learning rate falls."""
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.02
    """Not for biases, norms and other vectors."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    average: float = 0.998
    """Decay of the moving average of the weights, which is what `train` leaves in the model."""
    bfloat16: bool = False
    """Autocast matrix products to bfloat16."""
    seed: int = 0
    data: str = ""
    """Fingerprint of data and model: a checkpoint of other data is not taken up."""
    checkpoint_seconds: float = 60
    workers: int = 0
    """Processes that make batches ahead; for a GPU."""

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / max(1, min(self.warmup, self.steps // 4)))
        start = self.flat * self.steps
        done = max(0.0, (step - start) / max(1.0, self.steps - start))
        return self.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def train(
    model: nn.Module,
    make_batch: MakeBatch,
    losses: Losses,
    *,
    config: LoopConfig,
    checkpoint: Path,
    device: str = "cpu",
    stop_after: int | None = None,
) -> nn.Module:
    """Trains `model` in place and leaves the averaged weights in it.

    Parameters
    ----------
    model:
        Moved to `device`. Parameters that do not require gradients stay as they are.
    losses:
        Called with the batch, its tensors on `device`; it knows the model already.
    checkpoint:
        File for the state. If it exists and was written under the same `config`, training goes on
        from there; a finished training is only loaded.
    stop_after:
        Steps after which to write a checkpoint and return, as if interrupted.

    Raises
    ------
    FloatingPointError:
        The loss is not finite.
    """
    model.to(device).train()
    optimizer = _optimizer(model, config)
    averaged = {name: value.detach().clone() for name, value in model.state_dict().items()}
    step = _restore(checkpoint, config, model, optimizer, averaged, device)
    end = config.steps if stop_after is None else min(config.steps, step + stop_after)
    if step < end:
        loader = DataLoader(
            _Steps(make_batch, config.seed, config.steps),
            batch_size=None,
            sampler=range(step, end),
            num_workers=config.workers,
            persistent_workers=config.workers > 0,
        )
        saved = time.monotonic()
        with Progress(config.name, total=config.steps, done=step) as progress:
            for batch in loader:
                figures = _step(model, batch, losses, optimizer, averaged, config, step, device)
                step += 1
                if not math.isfinite(float(figures["loss"])):
                    raise FloatingPointError(
                        f"{config.name}: the loss of step {step} is not finite"
                    )
                shown = ""
                if progress.due():
                    shown = f"rate {config.rate(step):.1e}"
                    shown += "".join(f" {k} {float(v):.4f}" for k, v in figures.items())
                progress.advance(figures=shown)
                if time.monotonic() - saved > config.checkpoint_seconds:
                    _save(checkpoint, config, model, optimizer, averaged, step)
                    saved = time.monotonic()
        _save(checkpoint, config, model, optimizer, averaged, step)
    model.load_state_dict(averaged)
    return model.eval()


class _Steps(Dataset[Batch]):
    """Item `step` is the batch of that step."""

    def __init__(self, make_batch: MakeBatch, seed: int, steps: int) -> None:
        self.make_batch, self.seed, self.steps = make_batch, seed, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        return self.make_batch(np.random.default_rng((self.seed, step)))


def _optimizer(model: nn.Module, config: LoopConfig) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def _step(
    model: nn.Module,
    batch: Batch,
    losses: Losses,
    optimizer: torch.optim.Optimizer,
    averaged: dict[str, Tensor],
    config: LoopConfig,
    step: int,
    device: str,
) -> dict[str, Tensor]:
    # what draws random numbers inside the model must not depend on where a run was resumed
    torch.manual_seed(config.seed * 1_000_003 + step)
    for group in optimizer.param_groups:
        group["lr"] = config.rate(step)
    moved = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}
    with torch.autocast(device.split(":")[0], dtype=torch.bfloat16, enabled=config.bfloat16):
        figures = losses(moved)
    optimizer.zero_grad(set_to_none=True)
    figures["loss"].backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    optimizer.step()
    # early on the average must forget fast
    decay = min(config.average, (1 + step) / (10 + step))
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                averaged[name].lerp_(value, 1 - decay)
            else:
                averaged[name].copy_(value)
    return {name: value.detach() for name, value in figures.items()}


def _identity(config: LoopConfig) -> dict[str, Any]:
    settings = asdict(config)
    for name in ("checkpoint_seconds", "workers"):
        settings.pop(name)
    return settings


def _save(
    checkpoint: Path,
    config: LoopConfig,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    averaged: dict[str, Tensor],
    step: int,
) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    aside = checkpoint.with_suffix(".tmp")
    state = {
        "config": _identity(config),
        "step": step,
        "model": model.state_dict(),
        "averaged": averaged,
        "optimizer": optimizer.state_dict(),
    }
    torch.save(state, aside)
    os.replace(aside, checkpoint)


def _restore(
    checkpoint: Path,
    config: LoopConfig,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    averaged: dict[str, Tensor],
    device: str,
) -> int:
    """The number of steps done; 0 when there is no checkpoint of this very training."""
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, map_location=device, weights_only=True)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    if state["config"] != _identity(config) or shapes != {
        name: value.shape for name, value in state["model"].items()
    }:
        return 0
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    for name, value in state["averaged"].items():
        averaged[name].copy_(value)
    return int(state["step"])

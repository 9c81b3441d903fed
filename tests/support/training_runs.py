"""A small training, with everything that a checkpoint must hold, for the tests of checkpoints.

`python -m support.training_runs FOLDER` saves one checkpoint after another until it is killed.
"""

from __future__ import annotations

import random
import sys
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from imig.training.checkpoint import Position, Training, load_checkpoint, save_checkpoint
from imig.training.optimizer import Average, clip_gradients, make_optimizer, make_scheduler
from imig.training.recipe import TrainRecipe
from support.training_doubles import FakeAdapted, trainable


def small_recipe(*, kind: str = "prodigy", steps: int = 20, seed: int = 0) -> TrainRecipe:
    return TrainRecipe.model_validate(
        {
            "name": "small",
            "seed": seed,
            "steps": steps,
            "ema": 0.9,
            "optimizer": {
                "kind": kind,
                "learning_rate": 1.0 if kind == "prodigy" else 0.01,
                "warmup_steps": 3,
                "schedule": "cosine",
            },
        }
    )


class SmallRun:
    """`FakeAdapted` learns to give its inputs back, on noise from every global generator."""

    def __init__(self, recipe: TrainRecipe, *, model: nn.Module | None = None) -> None:
        self.recipe = recipe
        self.model = FakeAdapted() if model is None else model
        parameters = trainable(self.model)
        optimizer = make_optimizer(parameters.values(), recipe.optimizer)
        if recipe.optimizer.kind == "prodigy":
            # As after hundreds of steps: from its first estimate, 1e-6, it would hardly move.
            optimizer.param_groups[0].update(d=0.01, d_max=0.01)
        self.training = Training(
            model=self.model,
            optimizer=optimizer,
            scheduler=make_scheduler(optimizer, recipe.optimizer, recipe.steps),
            average=Average(parameters, decay=0.9),
        )
        self.done = 0

    @property
    def average(self) -> Average:
        assert self.training.average is not None
        return self.training.average

    def train(self, steps: int, *, fixed_noise: bool = False) -> list[float]:
        """The loss of each step; with `fixed_noise` it is a function of the step alone."""
        return [self._step(fixed_noise) for _ in range(steps)]

    def save(self, run: Path, *, keep: int = 2) -> Path:
        return save_checkpoint(
            run,
            self.training,
            step=self.done,
            data={"micro_batch": 3 * self.done},
            recipe=self.recipe,
            keep=keep,
        )

    def load(self, checkpoint: Path) -> Position:
        position = load_checkpoint(checkpoint, self.training, recipe=self.recipe)
        self.done = position.step
        return position

    def values(self) -> dict[str, Tensor]:
        """What has been learned, and its average."""
        learned = {name: one.detach().clone() for name, one in trainable(self.model).items()}
        with self.average.swapped(self.model):
            averages = {name: one.detach().clone() for name, one in trainable(self.model).items()}
        return learned | {f"average {name}": one for name, one in averages.items()}

    def _step(self, fixed_noise: bool) -> float:
        if fixed_noise:
            x = torch.randn(8, 6, generator=torch.Generator().manual_seed(self.done))
        else:
            x = torch.randn(8, 6) + random.random() + np.random.rand()  # noqa: NPY002
        loss: Tensor = (self.model(x) - x[:, :3]).square().mean()
        self.training.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_gradients(trainable(self.model).values(), self.recipe.optimizer.clip)
        self.training.optimizer.step()
        self.training.scheduler.step()
        self.average.update()
        self.done += 1
        return loss.item()


def save_for_ever(run: Path) -> None:
    small = SmallRun(small_recipe(steps=10**6))
    for _ in count():
        small.train(1)
        small.save(run)
        print(small.done, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    save_for_ever(Path(sys.argv[1]))

"""What the trainers of all families share: where things are, crops, and the finished folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from tools.tiny.loop import LoopConfig
from tools.tiny.pool import (
    HELD_OUT,
    HELD_OUT_NOVEL,
    TRAINING,
    PoolRecipe,
    ScenePool,
    ensure_pool,
)

GREY = (127, 127, 127)


@dataclass(frozen=True)
class Workshop:
    """Where trainings find their scenes, keep their state, and leave their weights."""

    cache: Path
    output: Path
    device: str = "cpu"
    processes: int = 2
    """For drawing scenes."""
    steps_scale: float = 1.0
    training: PoolRecipe = TRAINING
    held_out: PoolRecipe = HELD_OUT
    novel: PoolRecipe = HELD_OUT_NOVEL

    def pool(self, kind: str) -> ScenePool:
        """The pool "training", "held-out" or "held-out-novel"; drawn when it is missing."""
        recipes = {
            "training": self.training,
            "held-out": self.held_out,
            "held-out-novel": self.novel,
        }
        return ensure_pool(self.cache / kind, recipes[kind], processes=self.processes)

    def checkpoint(self, family: str) -> Path:
        """The file that holds the state of a family's training."""
        return self.cache / "state" / f"{family}.pt"

    def adapt(self, config: LoopConfig, *parts: object) -> LoopConfig:
        """The loop's settings for this workshop.

        `parts`: what else, besides the scenes, makes a training what it is (the model's
        configuration); when it changes, an old checkpoint is not taken up.
        """
        data = hashlib.sha256(repr((self.training.fingerprint(), parts)).encode()).hexdigest()
        return replace(
            config,
            steps=max(2, round(config.steps * self.steps_scale)),
            data=data[:16],
            bfloat16=config.bfloat16 and multiplies_bfloat16(self.device),
            # on a CPU the cores belong to PyTorch
            workers=0 if self.device == "cpu" else max(1, (os.cpu_count() or 2) - 2),
        )


def multiplies_bfloat16(device: str) -> bool:
    """Whether bfloat16 pays: a processor without such products emulates them, 20 times slower."""
    # private in PyTorch, which has no public word for it
    return device != "cpu" or torch.cpu._is_avx512_bf16_supported()


def half_precision(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model on the CPU, contiguous, floating point numbers as float16."""
    return {
        name: (value.half() if value.is_floating_point() else value).cpu().contiguous().clone()
        for name, value in model.state_dict().items()
    }


def finish_folder(folder: Path) -> None:
    """Makes every file readable for everybody: save_pretrained writes mode 0600."""
    for file in folder.iterdir():
        file.chmod(0o644)


def parameter_count(model: nn.Module) -> str:
    """As a model card says it: "2.61 M"."""
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M"


def write_card(
    folder: Path,
    *,
    family: str,
    library: str,
    summary: str,
    recipe: Mapping[str, object],
    figures: Mapping[str, float],
    limits: str,
) -> None:
    """Writes README.md, a hub-style model card, into a weights folder.

    `recipe` becomes the table of how it was trained, `figures` that of what it reached on held-out
    scenes.
    """
    recipe_rows = "\n".join(f"| {key} | {value} |" for key, value in recipe.items())
    figure_rows = "\n".join(f"| {key} | {value:.3f} |" for key, value in figures.items())
    text = f"""---
license: apache-2.0
library_name: {library}
tags: [imig, tabletop, tiny]
---
# {family}, tiny

{summary}

Trained from random weights on tabletop, the procedural world of the package `imig`; no other data
and no other weights went in. Train it again: `python -m tools.tiny {family}`.

## Recipe
| | |
|---|---|
{recipe_rows}

Scenes of one in ten combinations of kind, colour and pattern ("novel") were never trained on.

## Figures
On held-out scenes, right after training, with the float16 weights of this folder
(`benchmarks/tiny_models.py` measures more):

| figure | measured |
|---|---|
{figure_rows}

## Limits
{limits}
"""
    (folder / "README.md").write_text(text, encoding="utf-8")


def jitter_box(
    box: NDArray[np.float32], share: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Moves each side of a box by a normal step of `share` of the box's width or height."""
    width, height = box[2] - box[0], box[3] - box[1]
    steps = rng.normal(0, share, 4) * (width, height, width, height)
    moved = box + np.clip(steps, -3 * share * max(width, height), 3 * share * max(width, height))
    return np.asarray(moved, np.float32)


def crop_square(
    image: NDArray[np.uint8],
    box: NDArray[np.float32],
    *,
    size: int,
    margin: float = 0.05,
    mask: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """The part of an image under a box with a margin, squashed to (size, size, 3).

    With a mask, everything outside it is grey.
    """
    height, width = image.shape[:2]
    dx, dy = margin * (box[2] - box[0]), margin * (box[3] - box[1])
    x1, y1 = max(0, round(float(box[0] - dx))), max(0, round(float(box[1] - dy)))
    x2 = min(width, max(x1 + 2, round(float(box[2] + dx))))
    y2 = min(height, max(y1 + 2, round(float(box[3] + dy))))
    part = image[y1:y2, x1:x2]
    if mask is not None:
        part = np.where(mask[y1:y2, x1:x2, None], part, np.uint8(GREY[0]))
    resized = Image.fromarray(part).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def to_input(
    images: NDArray[np.uint8] | Tensor,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """(n, h, w, 3) bytes to normalised float32 (n, 3, h, w); mean and std of 0..1 channels."""
    pixels = torch.as_tensor(images).permute(0, 3, 1, 2).float() / 255
    centre = torch.tensor(mean, device=pixels.device)[:, None, None]
    spread = torch.tensor(std, device=pixels.device)[:, None, None]
    return (pixels - centre) / spread

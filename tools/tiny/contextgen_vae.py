"""Trains the autoencoder of the tiny contextgen: pictures to latents of 1/8 their size and back."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tools.tiny.common import GREY, Workshop
from tools.tiny.contextgen_start import start_linear
from tools.tiny.loop import Batch, LoopConfig, train
from tools.tiny.pool import PoolScene, ScenePool

SIDE = 192
"""Side of a target in pixels."""
CONFIG: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [16, 32, 64, 64],
    "layers_per_block": 1,
    "latent_channels": 16,
    "norm_num_groups": 8,
    "sample_size": SIDE,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    # without attention a latent depends on its surroundings only: training on windows suffices
    "mid_block_add_attention": False,
}
LOOP = LoopConfig(
    "contextgen-vae", steps=1600, learning_rate=1.5e-3, warmup=60, flat=0.3, bfloat16=True
)
WINDOW = 64
BATCH = 12
SQUARE, EDGES, COARSE, SPREAD = 2.0, 0.5, 1.0, 3e-4
"""Weights of the loss's terms beside the absolute error of pixels."""
STUDIED = 150
"""Scenes from which the start is computed."""


def train_vae(workshop: Workshop) -> AutoencoderKL:
    """An autoencoder, float16 values in float32, whose latents have mean 0 and deviation 1.

    Its configuration holds the `shift_factor` and the `scaling_factor` that make them so.
    """
    pool = workshop.pool("training")
    vae = new_vae()
    start_linear(vae, _stack(pool, range(min(STUDIED, len(pool)))).numpy())
    train(
        vae,
        lambda rng: make_batch(pool, rng),
        lambda batch: losses(vae, batch),
        config=workshop.adapt(LOOP, CONFIG, WINDOW, BATCH, SQUARE, EDGES, COARSE, SPREAD, STUDIED),
        checkpoint=workshop.checkpoint(LOOP.name),
        device=workshop.device,
    )
    vae.half().float()
    shift, deviation = latent_statistics(vae, pool)
    vae.register_to_config(shift_factor=shift, scaling_factor=1 / deviation)
    return vae


def new_vae() -> AutoencoderKL:
    """An autoencoder with random weights."""
    torch.manual_seed(0)
    return AutoencoderKL(**CONFIG)


def target_of(scene: PoolScene) -> NDArray[np.uint8]:
    """A scene's picture as the model draws it, (SIDE, SIDE, 3)."""
    return _window(scene.image, (0, 0, *scene.image.shape[1::-1]), SIDE)


def make_batch(pool: ScenePool, rng: np.random.Generator) -> Batch:
    """Windows of targets, (BATCH, WINDOW, WINDOW, 3) bytes.

    Some are nearer than in a target, as references are, and some have a grey background, as layout
    images and references have.
    """
    windows = []
    for index in rng.integers(len(pool), size=BATCH):
        scene = pool[int(index)]
        image = scene.image
        centre = rng.uniform(0, image.shape[0], 2)
        if rng.random() < 0.3:
            chosen = int(rng.integers(len(scene.phrases)))
            image = np.where(scene.owners[..., None] == chosen + 1, image, np.uint8(GREY[0]))
            centre = scene.boxes[chosen].reshape(2, 2).mean(0)
        zoom = float(rng.uniform(1, 2)) if rng.random() < 0.35 else 1.0
        span = image.shape[0] * WINDOW / SIDE / zoom
        x, y = np.clip(centre - span / 2, 0, image.shape[0] - span)
        window = _window(image, (x, y, x + span, y + span), WINDOW)
        windows.append(window[:, ::-1] if rng.random() < 0.5 else window)
    return {"images": torch.from_numpy(np.stack(windows))}


def losses(vae: AutoencoderKL, batch: Batch) -> dict[str, Tensor]:
    """How far the reconstruction is off, in pixels, edges and coarsely; a pull to N(0, 1)."""
    pixels = to_pixels(batch["images"])
    posterior = vae.encode(pixels).latent_dist
    drawn = vae.decode(posterior.sample()).sample.float()
    error = drawn - pixels
    right, down = error.diff(dim=-1).abs().mean(), error.diff(dim=-2).abs().mean()
    coarse = F.avg_pool2d(error, 4).abs().mean()
    mean, variance = posterior.mean.float(), posterior.var.float()
    spread = 0.5 * (mean.square() + variance - 1 - variance.log()).mean()
    exact = error.abs().mean()
    # squares: a small thing of another colour must count, which absolute errors would leave grey
    loss = exact + SQUARE * error.square().mean() + EDGES * (right + down)
    loss = loss + COARSE * coarse + SPREAD * spread
    return {"loss": loss, "exact": exact, "kl": spread}


def to_pixels(images: Tensor) -> Tensor:
    """(n, h, w, 3) bytes to float (n, 3, h, w) in -1 .. 1, as the autoencoder takes them."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def latent_statistics(
    vae: AutoencoderKL, pool: ScenePool, *, scenes: int = 256
) -> tuple[float, float]:
    """Mean and deviation of the raw latents of targets."""
    found = []
    count = min(scenes, len(pool))
    for start in range(0, count, 8):
        pixels = to_pixels(_stack(pool, range(start, min(start + 8, count))))
        found.append(vae.encode(pixels.to(vae.device)).latent_dist.mode().cpu())
    latents = torch.cat(found)
    return float(latents.mean()), float(latents.std())


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Bytes (n, h, w, 3) through the latents and back to bytes."""
    latents = vae.encode(to_pixels(images).to(vae.device)).latent_dist.mode()
    drawn: Tensor = vae.decode(latents).sample
    pixels = ((drawn + 1) * 127.5).round().clamp(0, 255)
    return pixels.permute(0, 2, 3, 1).to(torch.uint8).cpu()


def psnr(vae: AutoencoderKL, pool: ScenePool, *, scenes: int = 128) -> float:
    """Mean over targets of the peak signal-to-noise ratio of their reconstruction, in dB."""
    ratios = []
    for index in range(min(scenes, len(pool))):
        images = _stack(pool, [index])
        error = (reconstruct(vae, images).float() - images.float()).square().mean()
        ratios.append(10 * math.log10(255**2 / max(float(error), 1e-3)))
    return float(np.mean(ratios))


def _stack(pool: ScenePool, indices: Iterable[int]) -> Tensor:
    return torch.from_numpy(np.stack([target_of(pool[index]) for index in indices]))


def _window(
    image: NDArray[np.uint8], box: tuple[float, float, float, float], side: int
) -> NDArray[np.uint8]:
    resized = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC, box=box)
    return np.asarray(resized)

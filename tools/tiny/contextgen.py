"""Trains the tiny contextgen, a FLUX pipeline in small: an autoencoder, then the base model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxKontextPipeline
from numpy.typing import NDArray
from PIL import Image

from imig.contextgen.components import LatentCodec
from imig.models.registry import load_model
from imig.recipe.parts import ModelConfig
from tools.tiny import contextgen_base as base
from tools.tiny import contextgen_vae as autoencoder
from tools.tiny.common import Workshop, finish_folder, parameter_count, write_card
from tools.tiny.pool import ScenePool
from tools.tiny.tokenizer import build_tokenizer

FAMILY = "contextgen"
DRAWN = 64
"""Pictures drawn for the figures."""
DRAWING_STEPS = 24
SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "shift": 3.0,
    "use_dynamic_shifting": True,
    "base_shift": 0.5,
    "max_shift": 1.15,
    "base_image_seq_len": 256,
    "max_image_seq_len": 4096,
}
"""That of FLUX.1-Kontext."""


def train_family(workshop: Workshop) -> Path:
    """Trains, writes `contextgen/` below the workshop's output, and returns that folder."""
    vae = autoencoder.train_vae(workshop)
    model = base.train_base(workshop, vae)
    folder = workshop.output / FAMILY
    write_pipeline(folder, vae, model)
    vae, model = vae.float().to(workshop.device), model.float().to(workshop.device)
    pool = workshop.pool("held-out")
    tokens, _ = base.encode_pool(workshop, "held-out", vae)
    figures = {
        "PSNR of the autoencoder, dB": autoencoder.psnr(vae, pool),
        "PSNR of the autoencoder, novel combinations, dB": autoencoder.psnr(
            vae, workshop.pool("held-out-novel")
        ),
        "flow-matching loss, mean of t = 0.1, 0.3, .. 0.9": base.flow_loss(model, pool, tokens),
        "the same, each scene with another's caption": base.flow_loss(
            model, pool, tokens, change=lambda index: (index + 1) % len(pool)
        ),
        **phrase_figures(workshop, vae, model, pool),
    }
    write_card(
        folder,
        family=FAMILY,
        library="diffusers",
        summary="A FLUX.1-Kontext pipeline of diffusers in small: transformer "
        f"({parameter_count(model.transformer)} parameters), AutoencoderKL "
        f"({parameter_count(vae)}), CLIP ({parameter_count(model.text_encoder)}) and T5 "
        f"({parameter_count(model.text_encoder_2)}) text encoders. It draws tabletop scenes of "
        f"{autoencoder.SIDE} pixels from captions: the base from which `imig train` starts.",
        recipe=card_recipe(),
        figures=figures,
        limits=f"Pictures of {autoencoder.SIDE} x {autoencoder.SIDE} pixels, tabletop's words, "
        "guidance 1 (`guidance_scale=1`; no other was trained). A short training: backgrounds, "
        "colours and the number of things follow the caption better than shapes do. Text encoders "
        "were trained with captions hidden behind no padding; the stock pipeline pads, so give it "
        "`max_sequence_length` close to the caption's length.",
    )
    return folder


def card_recipe() -> dict[str, object]:
    """How it was trained, for the model card."""
    return {
        "autoencoder: loss": "absolute and squared error of pixels, absolute error of edges and of "
        "the picture at a quarter of its size, a little divergence from N(0, 1)",
        "autoencoder: start": "the encoder as the principal components of 8 x 8 pixels",
        "autoencoder: steps": autoencoder.LOOP.steps,
        "autoencoder: batch": f"{autoencoder.BATCH} windows of {autoencoder.WINDOW} pixels, a "
        "third of them things on grey",
        "base: loss": "flow matching, t = sigmoid(N(0, 1)), guidance 1",
        "base: captions": "long and simple ones alike, none at "
        f"{base.NO_CAPTION:.0%}; encoders and transformer train together",
        "base: steps": base.LOOP.steps,
        "base: batch": f"{base.BATCH} scenes of {autoencoder.SIDE} pixels",
        "optimizer": f"AdamW, learning rate {autoencoder.LOOP.learning_rate} and "
        f"{base.LOOP.learning_rate}, moving average of weights",
    }


def write_pipeline(folder: Path, vae: AutoencoderKL, model: base.BaseModel) -> None:
    """Writes what `FluxKontextPipeline.from_pretrained` loads, all weights as float16.

    The models are left in float16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part: Any
    for part in (vae, model.text_encoder, model.text_encoder_2, model.transformer):
        part.to("cpu", torch.float16)
    pipeline = FluxKontextPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULER),
        vae=vae,
        text_encoder=model.text_encoder,
        tokenizer=build_tokenizer(max_length=base.CLIP_CONTEXT),
        text_encoder_2=model.text_encoder_2,
        tokenizer_2=build_tokenizer(max_length=base.T5_CONTEXT),
        transformer=model.transformer,
    )
    pipeline.save_pretrained(folder)
    for saved in folder.iterdir():
        if saved.is_dir():
            finish_folder(saved)


@torch.no_grad()
def draw(
    vae: AutoencoderKL, model: base.BaseModel, captions: Sequence[str], *, seed: int = 0
) -> NDArray[np.uint8]:
    """Pictures (n, SIDE, SIDE, 3) of captions."""
    codec = LatentCodec(vae)
    pictures = []
    for start in range(0, len(captions), base.BATCH):
        some = captions[start : start + base.BATCH]
        tokens = base.draw_tokens(model, some, steps=DRAWING_STEPS, seed=seed + start)
        pictures.append(codec.decode(tokens, autoencoder.SIDE, autoencoder.SIDE).cpu().numpy())
    return np.concatenate(pictures)


def phrase_figures(
    workshop: Workshop, vae: AutoencoderKL, model: base.BaseModel, pool: ScenePool
) -> dict[str, float]:
    """What the tiny grounding-dino of the same workshop finds in pictures drawn from captions.

    Nothing when the workshop has not trained it. For comparison: the same share in the scenes
    themselves, and that of another scene's phrases in the drawn pictures.
    """
    weights = workshop.output / "grounding-dino"
    if not (weights / "model.safetensors").exists():
        return {}
    config = ModelConfig(family="grounding-dino", weights=str(weights), device=workshop.device)
    grounder = load_model(config, batch_size=8)
    count = min(DRAWN, len(pool))
    scenes = [pool[index] for index in range(count)]
    drawn = list(draw(vae, model, [scene.simple_caption for scene in scenes]))
    phrases = [scene.phrases for scene in scenes]
    true = [autoencoder.target_of(scene) for scene in scenes]
    return {
        "phrases found in pictures drawn from captions": found_share(grounder, drawn, phrases),
        "phrases of the next scene found there": found_share(
            grounder, drawn, phrases[1:] + phrases[:1]
        ),
        "phrases found in the scenes themselves": found_share(grounder, true, phrases),
    }


def found_share(
    grounder: Any, pictures: Sequence[NDArray[np.uint8]], phrases: Sequence[Sequence[str]]
) -> float:
    """Share of phrases for which a box with that phrase reaches the usual thresholds."""
    images = [Image.fromarray(picture) for picture in pictures]
    answers = grounder.ground(images, phrases, box_threshold=0.35, text_threshold=0.25)
    hits = [
        phrase in answer.phrases
        for answer, wanted in zip(answers, phrases, strict=True)
        for phrase in wanted
    ]
    return float(np.mean(hits))

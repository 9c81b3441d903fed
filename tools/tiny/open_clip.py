"""Trains the tiny open-clip: phrases against crops, captions against whole scenes."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch import Tensor

from imig.tabletop.vocabulary import (
    ALL_COMBINATIONS,
    TRAINED_COMBINATIONS,
    hard_negative,
    phrase_of,
)
from tools.tiny.common import (
    Workshop,
    crop_square,
    finish_folder,
    half_precision,
    jitter_box,
    parameter_count,
    to_input,
    write_card,
)
from tools.tiny.loop import Batch, LoopConfig, train
from tools.tiny.pool import ScenePool
from tools.tiny.tokenizer import build_tokenizer, save_tokenizer

FAMILY = "open-clip"
IMAGE_SIZE = 64
CONTEXT = 64
MEAN = (0.45, 0.43, 0.40)
STD = (0.25, 0.25, 0.25)
LOOP = LoopConfig(FAMILY, steps=4000, learning_rate=1.5e-3, warmup=60, flat=0.3, bfloat16=True)
CROPS, SCENES = 64, 12
LARGEST_SCALE = 60.0

PHRASES = [phrase_of(*combination) for combination in ALL_COMBINATIONS]
TRAINED_PHRASES = [phrase_of(*combination) for combination in TRAINED_COMBINATIONS]


def model_config() -> dict[str, Any]:
    """`model_cfg` of open_clip_config.json."""
    return {
        "embed_dim": 64,
        "vision_cfg": {
            "image_size": IMAGE_SIZE,
            "layers": 4,
            "width": 128,
            "head_width": 32,
            "mlp_ratio": 4.0,
            "patch_size": 8,
        },
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": len(_tokenizer()),
            # open_clip reads the tokenizer from the folder itself
            "hf_tokenizer_name": "bert",
            "width": 64,
            "heads": 4,
            "layers": 2,
            "pool_type": "eos",
            "pad_id": 0,
            "eos_id": 102,
        },
    }


def train_family(workshop: Workshop) -> Path:
    """Trains, writes `open-clip/` below the workshop's output, and returns that folder."""
    pool = workshop.pool("training")
    config = model_config()
    clip = new_clip(config)
    train(
        clip,
        lambda rng: make_batch(pool, rng),
        lambda batch: losses(clip, batch),
        config=workshop.adapt(LOOP, config, CROPS, SCENES),
        checkpoint=workshop.checkpoint(FAMILY),
        device=workshop.device,
    )
    folder = workshop.output / FAMILY
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(folder, max_length=CONTEXT)
    preprocess = {
        "size": IMAGE_SIZE,
        "mode": "RGB",
        "mean": list(MEAN),
        "std": list(STD),
        "interpolation": "bicubic",
        "resize_mode": "squash",
    }
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=2) + "\n",
        encoding="utf-8",
    )
    weights = half_precision(clip)
    save_file(weights, folder / "open_clip_model.safetensors")
    clip.load_state_dict(weights)
    held_out, novel = workshop.pool("held-out"), workshop.pool("held-out-novel")
    write_card(
        folder,
        family=FAMILY,
        library="open_clip",
        summary=f"A CLIP of open_clip_torch with {parameter_count(clip)} parameters, "
        f"{IMAGE_SIZE} pixels, {CONTEXT} tokens.",
        recipe={
            "loss": f"crops against all {len(TRAINED_PHRASES)} trained phrases and back; scenes "
            "against captions, each beside a copy with one phrase wrong",
            "steps": LOOP.steps,
            "batch": f"{CROPS} crops (a third of them masked on grey), {SCENES} scenes",
            "optimizer": f"AdamW, learning rate {LOOP.learning_rate}, moving average of weights",
        },
        figures={**phrase_figures(clip, held_out), **phrase_figures(clip, novel, novel=True)},
        limits="Words and things of tabletop; squashes any crop to a square.",
    )
    finish_folder(folder)
    return folder


def new_clip(config: dict[str, Any]) -> CLIP:
    """A CLIP with random weights."""
    torch.manual_seed(0)
    logging.getLogger().setLevel(logging.WARNING)
    return CLIP(**config)


def make_batch(pool: ScenePool, rng: np.random.Generator) -> Batch:
    """Bytes of crops (CROPS, s, s, 3) and scenes (SCENES, s, s, 3), and their texts' token ids.

    `phrase` (CROPS,) indexes `TRAINED_PHRASES`; `captions` are the true captions, then as many
    wrong ones in the same order.
    """
    crops: list[Any] = []
    labels = []
    while len(crops) < CROPS:
        scene = pool[int(rng.integers(len(pool)))]
        for i in rng.permutation(len(scene.phrases))[:4]:
            mask = scene.owners == i + 1 if rng.random() < 0.33 else None
            box = jitter_box(scene.boxes[i], 0.03, rng)
            crop = crop_square(
                scene.image, box, size=IMAGE_SIZE, margin=float(rng.uniform(0, 0.12)), mask=mask
            )
            crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
            labels.append(_phrase_index()[scene.phrases[i]])
    scenes, captions, wrong = [], [], []
    for index in rng.integers(len(pool), size=SCENES):
        scene = pool[int(index)]
        whole = np.array((0, 0, *scene.image.shape[1::-1]), np.float32)
        scenes.append(crop_square(scene.image, whole, size=IMAGE_SIZE, margin=0))
        caption = scene.caption if rng.random() < 0.4 else scene.simple_caption
        phrase = scene.phrases[int(rng.integers(len(scene.phrases)))]
        captions.append(caption)
        other = hard_negative(phrase, scene.phrases, rng)
        wrong.append(caption.lower().replace(phrase, other))
    return {
        "crops": torch.from_numpy(np.stack(crops[:CROPS])),
        "phrase": torch.tensor(labels[:CROPS]),
        "scenes": torch.from_numpy(np.stack(scenes)),
        "captions": tokenize(captions + wrong),
    }


def losses(clip: CLIP, batch: Batch) -> dict[str, Tensor]:
    """Contrastive losses of a batch from `make_batch`."""
    scale = clip.logit_scale.exp().clamp(max=LARGEST_SCALE)
    pixels = torch.cat((batch["crops"], batch["scenes"]))
    seen = clip.encode_image(to_input(pixels, MEAN, STD), normalize=True).float()
    crops, scenes = seen[: len(batch["crops"])], seen[len(batch["crops"]) :]
    bank = _bank(TRAINED_PHRASES_KEY).to(seen.device)
    phrases = encode_texts(clip, bank)
    logits = scale * crops @ phrases.T
    labels = batch["phrase"]
    named = F.cross_entropy(logits, labels)
    # back: each phrase that is in the batch against all crops, sharing the target among its own
    own = F.one_hot(labels, len(phrases)).T.float()
    there = own.sum(1) > 0
    back = -(own[there] * logits.T[there].log_softmax(1)).sum(1) / own[there].sum(1)
    captions = encode_texts(clip, batch["captions"])
    matched = scale * scenes @ captions.T
    truth = torch.arange(len(scenes), device=seen.device)
    whole = F.cross_entropy(matched, truth)
    whole = (whole + F.cross_entropy(matched.T[: len(scenes)], truth)) / 2
    right = (logits.argmax(1) == labels).float().mean()
    loss = named + 0.5 * back.mean() + 0.3 * whole
    return {"loss": loss, "named": named, "scenes": whole, "right": right}


def encode_texts(clip: CLIP, ids: Tensor) -> Tensor:
    """Normalised text features (n, 64) of token ids (n, t).

    The same as `CLIP.encode_text`, which wants ids padded to the whole context: what follows the
    end of a text cannot change its feature, for attention is causal.
    """
    length = ids.shape[1]
    hidden = clip.token_embedding(ids) + clip.positional_embedding[:length]
    hidden = clip.transformer(hidden, attn_mask=clip.attn_mask[:length, :length])
    ends = ids.eq(102).int().argmax(dim=1)
    last = clip.ln_final(hidden)[torch.arange(len(ids), device=ids.device), ends]
    return F.normalize((last @ clip.text_projection).float(), dim=-1)


def tokenize(texts: Sequence[str]) -> Tensor:
    """Token ids (n, longest), at most `CONTEXT` long; shorter than the context is allowed."""
    encoded = _tokenizer()(
        list(texts), padding=True, truncation=True, max_length=CONTEXT, return_tensors="pt"
    )
    ids: Tensor = encoded.input_ids
    return ids


TRAINED_PHRASES_KEY, ALL_PHRASES_KEY = "trained", "all"


@lru_cache(maxsize=2)
def _bank(which: str) -> Tensor:
    return tokenize(TRAINED_PHRASES if which == TRAINED_PHRASES_KEY else PHRASES)


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    return build_tokenizer(max_length=CONTEXT)


@lru_cache(maxsize=1)
def _phrase_index() -> dict[str, int]:
    return {phrase: index for index, phrase in enumerate(TRAINED_PHRASES)}


@torch.no_grad()
def phrase_figures(
    clip: CLIP, pool: ScenePool, *, novel: bool = False, scenes: int = 256
) -> dict[str, float]:
    """Share of held-out crops whose phrase comes first among all of tabletop's phrases.

    `novel`: only things of combinations that were never trained on.
    """
    device = clip.logit_scale.device
    phrases = encode_texts(clip, _bank(ALL_PHRASES_KEY).to(device))
    trained = set(TRAINED_PHRASES)
    right, occluded = [], []
    for scene in (pool[i] for i in range(min(scenes, len(pool)))):
        crops = [crop_square(scene.image, box, size=IMAGE_SIZE) for box in scene.boxes]
        pixels = torch.from_numpy(np.stack(crops)).to(device)
        seen = clip.encode_image(to_input(pixels, MEAN, STD), normalize=True).float()
        best = (seen @ phrases.T).argmax(1).tolist()
        for i, phrase in enumerate(scene.phrases):
            if (phrase not in trained) == novel:
                right.append(PHRASES[best[i]] == phrase)
                occluded.append(bool(scene.occluded_fractions[i] > 0.05))
    hit, hidden = np.array(right, np.float32), np.array(occluded, np.bool_)
    if novel:
        return {"right phrase of 448, novel combinations": float(hit.mean())}
    return {
        "right phrase of 448": float(hit.mean()),
        "right phrase of 448, more than 5 % occluded": float(hit[hidden].mean()),
    }

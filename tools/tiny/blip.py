"""Trains the tiny blip: images in, tabletop's simple caption out ("two things: a plain red ...").

The caption lists things from left to right. Reading kinds, colours, patterns and that order off
pixels is learned many times faster when every patch is also told about the thing it lies on; the
heads that do so (`PatchHeads`) are thrown away after training.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

from imig.tabletop import COLOURS, KINDS, PATTERNS, parse_prompt
from imig.tabletop.captions import simple_caption_of
from imig.tabletop.vocabulary import split_phrase
from tools.tiny.common import Workshop, finish_folder, parameter_count, to_input, write_card
from tools.tiny.loop import Batch, LoopConfig, train
from tools.tiny.pool import PoolRecipe, PoolScene, ScenePool, ensure_pool
from tools.tiny.tokenizer import build_tokenizer

FAMILY = "blip"
IMAGE_SIZE, PATCH_SIZE = 224, 16
MEAN = (0.45, 0.43, 0.40)
STD = (0.25, 0.25, 0.25)
MAX_CAPTION_TOKENS = 64
VISION: dict[str, Any] = {
    "hidden_size": 160,
    "intermediate_size": 480,
    "projection_dim": 64,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "image_size": IMAGE_SIZE,
    "patch_size": PATCH_SIZE,
    # the library's default of 1e-10 does not train from nothing
    "initializer_range": 0.02,
}
TEXT: dict[str, Any] = {
    "hidden_size": 160,
    "encoder_hidden_size": 160,
    "intermediate_size": 480,
    "projection_dim": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": MAX_CAPTION_TOKENS,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "bos_token_id": 101,
    "sep_token_id": 102,
    "eos_token_id": 102,
    "pad_token_id": 0,
}
LOOP = LoopConfig(FAMILY, steps=11_000, learning_rate=1e-3, warmup=200, flat=0.4, bfloat16=True)
SCENES_PER_BATCH = 16
SMALLEST_WINDOW = 0.7
"""Side of the window cut from a scene for training, as a part of the scene's side."""
PATCH_LABELS = ("kind", "colour", "pattern", "place", "centre")
CENTRE_WEIGHT = 20.0
MAX_THINGS = 8
NO_THING = -100
"""Label of a patch that a loss passes over."""


def train_family(workshop: Workshop) -> Path:
    """Trains, writes `blip/` below the workshop's output, and returns that folder."""
    pool = workshop.pool("training")
    trainee = BlipTrainee()
    train(
        trainee,
        lambda rng: make_batch(pool, rng),
        trainee.losses,
        config=workshop.adapt(LOOP, VISION, TEXT, SCENES_PER_BATCH),
        checkpoint=workshop.checkpoint(FAMILY),
        device=workshop.device,
    )
    folder = workshop.output / FAMILY
    model: Any = trainee.blip.cpu()
    model.half()
    model.save_pretrained(folder)
    processor = _processor()
    processor.save_pretrained(folder)
    model = model.float().to(workshop.device)
    demo_like = PoolRecipe(
        count=workshop.held_out.count,
        instances=(2, 6),
        combinations="all",
        first_seed=workshop.held_out.first_seed + 2_000_000,
    )
    few = ensure_pool(workshop.cache / "held-out-2-6", demo_like, processes=workshop.processes)
    figures = {}
    for title, scenes in (("2-6 things", few), ("2-8 things", workshop.pool("held-out"))):
        for name, value in caption_figures(model, scenes).items():
            figures[f"{name}, {title}"] = value
    write_card(
        folder,
        family=FAMILY,
        library="transformers",
        summary=f"A BlipForConditionalGeneration of transformers with {parameter_count(model)} "
        f"parameters, {IMAGE_SIZE} pixels. It counts the things and lists them from left to right: "
        '"two things: a plain red mug and a striped blue car".',
        recipe={
            "loss": "cross-entropy of the caption's tokens; beside it, for the patches of a thing, "
            "its kind, colour, pattern, place in the list, whether a box has its centre there, and "
            "for the image the number of things",
            "steps": LOOP.steps,
            "batch": f"{SCENES_PER_BATCH} scenes, cropped around all things, mirrored and "
            "brightened at random",
            "optimizer": f"AdamW, learning rate {LOOP.learning_rate}, moving average of weights",
        },
        figures=figures,
        limits="It knows one kind of sentence and the words of tabletop, and sees tabletop things "
        "in whatever it is shown. Ask for up to 64 new tokens.",
    )
    finish_folder(folder)
    return folder


def _processor() -> Any:
    processor: Any = BlipProcessor  # untyped in transformers
    return processor(
        BlipImageProcessor(
            size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
            image_mean=list(MEAN),
            image_std=list(STD),
        ),
        build_tokenizer(max_length=MAX_CAPTION_TOKENS),
    )


class PatchHeads(nn.Module):
    """What each patch is asked besides the caption; only for training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sizes = {
            "kind": len(KINDS) + 1,
            "colour": len(COLOURS) + 1,
            "pattern": len(PATTERNS) + 1,
            "place": MAX_THINGS,
            "centre": 2,
        }
        self.patch = nn.Linear(width, sum(self.sizes.values()))
        self.count = nn.Linear(width, MAX_THINGS + 1)

    def forward(self, tokens: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Losses; tokens (b, 1 + patches, width)."""
        parts = self.patch(tokens[:, 1:]).float().split(list(self.sizes.values()), dim=-1)
        losses = {
            name: F.cross_entropy(part.flatten(0, 1), batch[name].flatten(), ignore_index=NO_THING)
            for name, part in zip(self.sizes, parts, strict=True)
        }
        # patches with a centre are few: as many as the things
        weight = torch.tensor((1.0, CENTRE_WEIGHT), device=tokens.device)
        centre = parts[list(self.sizes).index("centre")].flatten(0, 1)
        losses["centre"] = F.cross_entropy(centre, batch["centre"].flatten(), weight=weight)
        losses["count"] = F.cross_entropy(self.count(tokens[:, 0]).float(), batch["count"])
        return losses


class BlipTrainee(nn.Module):
    """The model and the heads beside it, with the initialisation that trains from nothing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        text = {**TEXT, "vocab_size": len(_tokenizer())}
        self.blip = BlipForConditionalGeneration(BlipConfig(vision_config=VISION, text_config=text))
        self.heads = PatchHeads(VISION["hidden_size"])

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The caption's loss and what the patches are asked."""
        output = self.blip(
            pixel_values=to_pixels((batch["images"] * batch["brightness"]).clamp(max=255)),
            input_ids=batch["ids"],
            attention_mask=batch["ids"].ne(0).long(),
            labels=batch["ids"].masked_fill(batch["ids"].eq(0), -100),
        )
        asked = self.heads(output.last_hidden_state, batch)
        loss = output.loss + 0.2 * torch.stack(list(asked.values())).sum()
        return {"loss": loss, "caption": output.loss, **asked}


def to_pixels(images: Tensor) -> Tensor:
    """(n, h, w, 3) of 0..255 to what the network takes, resized as its processor does."""
    pixels = to_input(images, MEAN, STD)
    size = (IMAGE_SIZE, IMAGE_SIZE)
    return F.interpolate(pixels, size, mode="bicubic", antialias=True, align_corners=False)


def make_batch(pool: ScenePool, rng: np.random.Generator) -> Batch:
    """images (b, h, w, 3) uint8, caption ids (b, t), labels of the patches (b, p), count (b,)."""
    images, captions, counts = [], [], []
    labels: dict[str, list[Any]] = {name: [] for name in PATCH_LABELS}
    for index in rng.integers(len(pool), size=SCENES_PER_BATCH):
        scene = pool[int(index)]
        image, owners, boxes = _crop(scene, rng)
        if rng.random() < 0.5:
            width = image.shape[1]
            image, owners = image[:, ::-1], owners[:, ::-1]
            boxes = np.stack(
                (width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), axis=1
            )
        order = sorted(range(len(boxes)), key=lambda i: (boxes[i, 0] + boxes[i, 2], boxes[i, 1]))
        images.append(image)
        captions.append(simple_caption_of([scene.phrases[i] for i in order]))
        counts.append(len(order))
        for name, values in _patch_labels(owners, boxes, scene.phrases, order).items():
            labels[name].append(values)
    ids = _tokenizer()(captions, padding=True, return_tensors="pt").input_ids
    return {
        "images": torch.from_numpy(np.stack(images)),
        "brightness": torch.from_numpy(
            rng.uniform(0.85, 1.15, (len(images), 1, 1, 1)).astype(np.float32)
        ),
        "ids": ids,
        "count": torch.tensor(counts),
        **{name: torch.from_numpy(np.stack(values)) for name, values in labels.items()},
    }


def _crop(
    scene: PoolScene, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """Image, owners and boxes of a square window that holds all boxes, at the scene's size."""
    size = scene.image.shape[0]
    left, top = np.floor(scene.boxes[:, :2].min(0)).astype(int)
    right, bottom = np.ceil(scene.boxes[:, 2:].max(0)).astype(int)
    least = max(right - left, bottom - top, SMALLEST_WINDOW * size)
    side = round(float(rng.uniform(least, size)))
    x = int(rng.integers(max(0, right - side), min(left, size - side) + 1))
    y = int(rng.integers(max(0, bottom - side), min(top, size - side) + 1))
    window = Image.fromarray(scene.image[y : y + side, x : x + side])
    nearest = np.arange(size) * side // size
    return (
        np.asarray(window.resize((size, size), Image.Resampling.BICUBIC)),
        scene.owners[y + nearest][:, x + nearest],
        (scene.boxes - np.array((x, y, x, y), np.float32)) * np.float32(size / side),
    )


def _patch_labels(
    owners: NDArray[np.uint8],
    boxes: NDArray[np.float32],
    phrases: Sequence[str],
    order: Sequence[int],
) -> dict[str, NDArray[np.int64]]:
    """For each patch: class indices, 0 for the background; its thing's place in the list.

    "centre" is 1 for the patch with the centre of a box: these patches add up to the count.
    """
    rows = IMAGE_SIZE // PATCH_SIZE
    nearest = (np.arange(IMAGE_SIZE) * owners.shape[0]) // IMAGE_SIZE
    cells = owners[nearest][:, nearest].reshape(rows, PATCH_SIZE, rows, PATCH_SIZE)
    flat = cells.transpose(0, 2, 1, 3).reshape(-1, PATCH_SIZE * PATCH_SIZE)
    covered = np.stack([(flat == n).sum(1) for n in range(len(phrases) + 1)], axis=1)
    # a patch belongs to the thing that covers most of it, if the thing covers a quarter
    best = covered[:, 1:].argmax(1) + 1
    owner = np.where(covered[:, 1:].max(1) * 4 >= PATCH_SIZE * PATCH_SIZE, best, 0)
    words = [split_phrase(phrase) for phrase in phrases]
    table = np.zeros((len(phrases) + 1, 4), np.int64)
    table[0, 3] = NO_THING
    for i, (kind, colour, pattern) in enumerate(words):
        table[i + 1, :3] = (
            1 + KINDS.index(kind),
            1 + COLOURS.index(colour),
            1 + PATTERNS.index(pattern),
        )
    for place, i in enumerate(order):
        table[i + 1, 3] = place
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 * (rows / owners.shape[0])
    columns, lines = np.clip(centres.astype(int), 0, rows - 1).T
    centre = np.zeros(rows * rows, np.int64)
    centre[lines * rows + columns] = 1
    return dict(zip(PATCH_LABELS, (*table[owner].T, centre), strict=True))


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    return build_tokenizer(max_length=MAX_CAPTION_TOKENS)


@torch.no_grad()
def write_captions(model: Any, images: Tensor) -> list[str]:
    """Greedy captions of (n, h, w, 3) bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ids = model.generate(
            to_pixels(images.to(model.device)),
            max_new_tokens=MAX_CAPTION_TOKENS - 2,
            num_beams=1,
            do_sample=False,
        )
    decoded: list[str] = _tokenizer().batch_decode(ids, skip_special_tokens=True)
    return decoded


def caption_figures(model: Any, pool: ScenePool, scenes: int = 256) -> dict[str, float]:
    """Share of the nouns recalled, and of the captions with the right number of things."""
    recalled = named = right = count = 0
    for start in range(0, min(scenes, len(pool)), 32):
        chosen = [pool[i] for i in range(start, min(start + 32, scenes, len(pool)))]
        images = torch.from_numpy(np.stack([scene.image for scene in chosen]))
        for scene, caption in zip(chosen, write_captions(model, images), strict=True):
            named_things = parse_prompt(caption)
            said = Counter(kind for kind, _, _ in named_things if kind is not None)
            truth = Counter(scene.nouns)
            recalled += (said & truth).total()
            named += truth.total()
            right += said.total() == truth.total()
            count += 1
    return {"nouns recalled": recalled / max(named, 1), "count right": right / max(count, 1)}

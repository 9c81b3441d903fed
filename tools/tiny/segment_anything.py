"""Trains the tiny segment-anything: boxes in, masks of the visible part out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from segment_anything.modeling import Sam
from torch import Tensor

from imig.models.segment_anything_tiny import build_sam
from tools.tiny.common import (
    Workshop,
    finish_folder,
    half_precision,
    jitter_box,
    parameter_count,
    write_card,
)
from tools.tiny.loop import Batch, LoopConfig, train
from tools.tiny.pool import ScenePool

FAMILY = "segment-anything"
CONFIG: dict[str, Any] = {
    "image_size": 320,
    "patch_size": 16,
    "embed_dim": 160,
    "depth": 5,
    "num_heads": 5,
    "mlp_ratio": 3.0,
    "window_size": 10,
    "global_attn_indexes": [1, 4],
    "prompt_embed_dim": 128,
    "mask_in_chans": 4,
    "decoder_depth": 2,
    "decoder_mlp_dim": 256,
    "decoder_num_heads": 4,
    "iou_head_depth": 3,
    "iou_head_hidden_dim": 64,
}
LOOP = LoopConfig(FAMILY, steps=3000, learning_rate=1e-3, warmup=150, flat=0.3, bfloat16=True)
IMAGES_PER_BATCH = 6
BOXES_PER_IMAGE = 5


def train_family(workshop: Workshop) -> Path:
    """Trains, writes `segment-anything/` below the workshop's output, and returns that folder."""
    pool = workshop.pool("training")
    sam = new_sam()
    train(
        sam,
        lambda rng: make_batch(pool, rng),
        lambda batch: losses(sam, batch),
        config=workshop.adapt(LOOP, CONFIG),
        checkpoint=workshop.checkpoint(FAMILY),
        device=workshop.device,
    )
    folder = workshop.output / FAMILY
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
    save_file(half_precision(sam), folder / "model.safetensors")
    sam.load_state_dict(load_file(folder / "model.safetensors"))
    figures = {
        "mask IoU, true boxes": mask_iou(sam, workshop.pool("held-out"), jitter=0.0),
        "mask IoU, boxes jittered by 4 %": mask_iou(sam, workshop.pool("held-out"), jitter=0.04),
        "mask IoU, novel combinations": mask_iou(sam, workshop.pool("held-out-novel"), jitter=0.0),
    }
    write_card(
        folder,
        family=FAMILY,
        library="segment-anything",
        summary=f"A Sam of the segment_anything package with {parameter_count(sam)} parameters, "
        f"{CONFIG['image_size']} pixels, for boxes as prompts.",
        recipe={
            "loss": "for the single mask and the best of the three others: binary cross-entropy "
            "and Dice; squared error of the predicted IoU",
            "prompts": "boxes of the visible part, each side jittered by 4 % of the box",
            "steps": LOOP.steps,
            "batch": f"{IMAGES_PER_BATCH} scenes, {BOXES_PER_IMAGE} boxes each",
            "optimizer": f"AdamW, learning rate {LOOP.learning_rate}, moving average of weights",
        },
        figures=figures,
        limits="Tabletop scenes of about 256 pixels, box prompts; points and masks as prompts "
        "were not trained.",
    )
    finish_folder(folder)
    return folder


def new_sam() -> Sam:
    """A Sam of `CONFIG` with the initialisation that trains well from nothing."""
    torch.manual_seed(0)
    sam = build_sam(CONFIG)
    torch.nn.init.trunc_normal_(sam.image_encoder.pos_embed, std=0.02)
    # not trained: points at the corners and "no mask" embeddings are; masks as prompts are not used
    for parameter in sam.prompt_encoder.mask_downscaling.parameters():
        parameter.requires_grad_(False)
    return sam


def make_batch(pool: ScenePool, rng: np.random.Generator) -> Batch:
    """images (b, h, w, 3) uint8, boxes (n, 4), image index of each box (n,), masks (n, h, w)."""
    images, boxes, owners, masks = [], [], [], []
    for number, index in enumerate(rng.integers(len(pool), size=IMAGES_PER_BATCH)):
        scene = pool[int(index)]
        flip = rng.random() < 0.5
        images.append(scene.image[:, ::-1] if flip else scene.image)
        width = scene.image.shape[1]
        count = len(scene.phrases)
        for i in rng.permutation(np.resize(rng.permutation(count), BOXES_PER_IMAGE)):
            box = scene.boxes[i]
            mask = scene.owners == i + 1
            if flip:
                box = np.array((width - box[2], box[1], width - box[0], box[3]), np.float32)
                mask = mask[:, ::-1]
            boxes.append(jitter_box(box, 0.04 if rng.random() < 0.7 else 0.01, rng))
            masks.append(mask)
            owners.append(number)
    return {
        "images": torch.from_numpy(np.stack(images)),
        "boxes": torch.from_numpy(np.stack(boxes)),
        "owners": torch.tensor(owners),
        "masks": torch.from_numpy(np.stack(masks)),
    }


def losses(sam: Sam, batch: Batch) -> dict[str, Tensor]:
    """Loss and mask IoU (at mask resolution) of a batch from `make_batch`."""
    logits, predicted = predict(sam, batch["images"], batch["boxes"], batch["owners"])
    side = logits.shape[-1]
    target = F.interpolate(
        batch["masks"].float()[:, None], (side, side), mode="bilinear", antialias=True
    )
    logits, predicted = logits.float(), predicted.float()
    # per object: pixels are counted relative to the object's box, so that small ones weigh alike
    scale = batch["boxes"] * (side / batch["masks"].shape[-1])
    area = ((scale[:, 2] - scale[:, 0]) * (scale[:, 3] - scale[:, 1])).clamp(min=16)
    entropy = (
        F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none").sum(
            (2, 3)
        )
        / area[:, None]
    )
    chance = logits.sigmoid()
    inside = (chance * target).sum((2, 3))
    dice = 1 - (2 * inside + 1) / (chance.sum((2, 3)) + target.sum((2, 3)) + 1)
    each = entropy + dice
    with torch.no_grad():
        hit, truth = logits > 0, target > 0.5
        iou = (hit & truth).sum((2, 3)) / (hit | truth).sum((2, 3)).clamp(min=1)
    loss = each[:, 0].mean() + 0.3 * each[:, 1:].min(1).values.mean()
    loss = loss + 0.05 * each[:, 1:].mean() + F.mse_loss(predicted, iou)
    return {"loss": loss, "iou": iou[:, 0].mean()}


def predict(sam: Sam, images: Tensor, boxes: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """Mask logits (n, 4, side, side) and IoU predictions (n, 4) for boxes on many images at once.

    Images are squares of any size, boxes in their pixels, `owners` the image index of each box.

    `MaskDecoder.predict_masks` takes one image a call; this is the same computation with the
    embedding of each box's own image.
    """
    pixels = images.permute(0, 3, 1, 2).float()
    side = sam.image_encoder.img_size
    boxes = boxes * (side / images.shape[1])
    pixels = F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False)
    features = sam.image_encoder((pixels - sam.pixel_mean) / sam.pixel_std)
    sparse, dense = sam.prompt_encoder(points=None, boxes=boxes, masks=None)
    decoder = sam.mask_decoder
    tokens = torch.cat((decoder.iou_token.weight, decoder.mask_tokens.weight))
    tokens = torch.cat((tokens.expand(len(boxes), -1, -1), sparse), dim=1)
    source = features[owners] + dense
    count, channels, height, width = source.shape
    place = sam.prompt_encoder.get_dense_pe().expand(count, -1, -1, -1)
    found, source = decoder.transformer(source, place, tokens)
    masks_out = found[:, 1 : 1 + decoder.num_mask_tokens]
    upscaled = decoder.output_upscaling(source.transpose(1, 2).view(count, channels, height, width))
    weights = torch.stack(
        [head(masks_out[:, i]) for i, head in enumerate(decoder.output_hypernetworks_mlps)], dim=1
    )
    logits = torch.einsum("nkc,nchw->nkhw", weights.to(upscaled.dtype), upscaled)
    return logits, decoder.iou_prediction_head(found[:, 0])


@torch.no_grad()
def mask_iou(sam: Sam, pool: ScenePool, *, jitter: float, scenes: int = 256) -> float:
    """Mean IoU of the single mask with the visible part, at full resolution."""
    device = sam.pixel_mean.device
    total, count = 0.0, 0
    for index in range(min(scenes, len(pool))):
        scene = pool[index]
        rng = np.random.default_rng((7, index))
        boxes = scene.boxes
        if jitter:
            boxes = np.stack([jitter_box(box, jitter, rng) for box in boxes])
        logits, _ = predict(
            sam,
            torch.from_numpy(scene.image)[None].to(device),
            torch.from_numpy(boxes).to(device),
            torch.zeros(len(boxes), dtype=torch.long, device=device),
        )
        size = scene.image.shape[:2]
        masks = F.interpolate(logits[:, :1].float(), size, mode="bilinear", align_corners=False)
        hit = masks[:, 0].cpu().numpy() > 0
        truth = scene.masks
        iou = (hit & truth).sum((1, 2)) / np.maximum((hit | truth).sum((1, 2)), 1)
        total, count = total + float(iou.sum()), count + len(iou)
    return total / max(count, 1)

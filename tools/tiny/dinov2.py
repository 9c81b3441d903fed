"""Trains the tiny dinov2: one identity's views close together, other identities far away.

The real DINOv2 is trained without labels; here identities are known, so the loss says directly what
the feature is for: a supervised contrastive loss (Khosla et al. 2020, equation 2) on both features
that the family gives: the class token, and the mean of the patch tokens under a mask.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

from tools.tiny.common import (
    Workshop,
    crop_square,
    finish_folder,
    parameter_count,
    to_input,
    write_card,
)
from tools.tiny.loop import Batch, LoopConfig, train
from tools.tiny.pool import ScenePool
from tools.tiny.views import VIEWS, ViewPool, ensure_views

FAMILY = "dinov2"
IMAGE_SIZE, PATCH_SIZE = 96, 12
MEAN = (0.45, 0.43, 0.40)
STD = (0.25, 0.25, 0.25)
CONFIG: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "mlp_ratio": 3,
    "image_size": IMAGE_SIZE,
    "patch_size": PATCH_SIZE,
    "layerscale_value": 1.0,
}
LOOP = LoopConfig(FAMILY, steps=450, learning_rate=1e-3, warmup=60, flat=0.3, bfloat16=True)
IDENTITIES = 700
ALONE, GROUPS, GROUP = 8, 2, 4
"""Identities of a batch: some at random, and groups that share kind and colour."""
VIEWS_PER_IDENTITY = 4
TEMPERATURE = 0.1


def train_family(workshop: Workshop) -> Path:
    """Trains, writes `dinov2/` below the workshop's output, and returns that folder."""
    scenes = workshop.pool("training")
    views = ensure_views(workshop.cache / "views", scenes, IDENTITIES, processes=workshop.processes)
    groups = alike(views)
    torch.manual_seed(0)
    model: Any = Dinov2Model(Dinov2Config(**CONFIG))
    train(
        model,
        lambda rng: make_batch(scenes, views, groups, rng),
        lambda batch: losses(model, batch),
        config=workshop.adapt(LOOP, CONFIG, IDENTITIES),
        checkpoint=workshop.checkpoint(FAMILY),
        device=workshop.device,
    )
    folder = workshop.output / FAMILY
    model.cpu().half().save_pretrained(folder)
    BitImageProcessor(
        do_resize=True,
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        do_center_crop=False,
        image_mean=list(MEAN),
        image_std=list(STD),
    ).save_pretrained(folder)
    model = model.float().to(workshop.device)
    held_out = workshop.pool("held-out")
    figures = identity_figures(
        model, ensure_views(workshop.cache / "held-out-views", held_out, 240)
    )
    write_card(
        folder,
        family=FAMILY,
        library="transformers",
        summary=f"A Dinov2Model of transformers with {parameter_count(model)} parameters, "
        f"{IMAGE_SIZE} pixels. Cosine of two features: whether they show the same identity.",
        recipe={
            "loss": "supervised contrastive over identities, on the class token and on the mean of "
            f"the patches under the mask, temperature {TEMPERATURE}",
            "data": f"{IDENTITIES} identities, each in a crop of a scene and in {VIEWS} views",
            "steps": LOOP.steps,
            "batch": f"{ALONE + GROUPS * GROUP} identities in {VIEWS_PER_IDENTITY} views each; "
            f"{GROUPS * GROUP} of them share kind and colour with others",
            "optimizer": f"AdamW, learning rate {LOOP.learning_rate}, moving average of weights",
        },
        figures=figures,
        limits="Crops of tabletop things; features of anything else mean little.",
    )
    finish_folder(folder)
    return folder


def alike(views: ViewPool) -> list[list[int]]:
    """Indices of identities that share kind and colour, where at least `GROUP` do."""
    found = defaultdict(list)
    for index, identity in enumerate(views.identities):
        found[identity.kind, identity.colour].append(index)
    return [group for group in found.values() if len(group) >= GROUP]


def make_batch(
    scenes: ScenePool, views: ViewPool, groups: list[list[int]], rng: np.random.Generator
) -> Batch:
    """images (n, h, w, 3) uint8, masks (n, patches) in 0..1, labels (n,)."""
    chosen = [int(i) for i in rng.integers(len(views), size=ALONE)]
    for _ in range(GROUPS if groups else 0):
        group = groups[int(rng.integers(len(groups)))]
        chosen += [int(i) for i in rng.choice(group, GROUP, replace=False)]
    images, masks, labels = [], [], []
    for index in dict.fromkeys(chosen):
        shown = views[index]
        pictures = [
            (shown.images[v], shown.masks[v], shown.boxes[v])
            for v in rng.choice(len(shown.images), VIEWS_PER_IDENTITY - 1, replace=False)
        ]
        scene = scenes[shown.scene]
        part = (scene.image, scene.owners == shown.instance + 1, scene.boxes[shown.instance])
        for number, (image, mask, box) in enumerate([part, *pictures]):
            if number > 0 and rng.random() < 0.35:  # the whole picture
                box = np.array((0, 0, image.shape[1], image.shape[0]), np.float32)
            alone = mask if rng.random() < 0.15 else None
            margin = float(rng.uniform(0.0, 0.15))
            crop = crop_square(image, box, size=IMAGE_SIZE, margin=margin, mask=alone)
            cut = np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)
            cover = crop_square(cut, box, size=IMAGE_SIZE, margin=margin)[..., 0]
            if rng.random() < 0.5:
                crop, cover = crop[:, ::-1], cover[:, ::-1]
            images.append(crop)
            masks.append(patch_cover(cover))
            labels.append(index)
    return {
        "images": torch.from_numpy(np.stack(images)),
        "masks": torch.from_numpy(np.stack(masks)),
        "labels": torch.tensor(labels),
    }


def patch_cover(cover: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The share of each patch that a mask (0 or 255, of the network's size) covers, flattened."""
    rows = cover.shape[0] // PATCH_SIZE
    patches = cover.reshape(rows, PATCH_SIZE, -1, PATCH_SIZE).mean((1, 3)) / 255
    return np.asarray(patches.reshape(-1), np.float32)


def features(model: Any, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Class tokens and means of the patches under the masks, each (n, dimensions), normalised."""
    tokens = model(to_input(images, MEAN, STD)).last_hidden_state.float()
    weights = (masks >= 0.5).float() + 1e-3 * masks + 1e-6
    mean = (tokens[:, 1:] * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
    return F.normalize(tokens[:, 0], dim=-1), F.normalize(mean, dim=-1)


def losses(model: Any, batch: Batch) -> dict[str, Tensor]:
    """Contrastive losses of both features of a batch from `make_batch`."""
    whole, masked = features(model, batch["images"], batch["masks"])
    figures = {
        "class": contrastive(whole, batch["labels"]),
        "masked": contrastive(masked, batch["labels"]),
    }
    return {"loss": figures["class"] + figures["masked"], **figures}


def contrastive(features: Tensor, labels: Tensor) -> Tensor:
    """Supervised contrastive loss of normalised features (n, d) with labels (n,)."""
    logits = features @ features.T / TEMPERATURE
    self_pair = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    logits = logits.masked_fill(self_pair, -1e4)
    same = (labels[:, None] == labels[None]) & ~self_pair
    chances = logits.log_softmax(dim=1)
    return -((chances * same).sum(1) / same.sum(1).clamp(min=1)).mean()


@torch.no_grad()
def identity_figures(model: Any, views: ViewPool) -> dict[str, float]:
    """AUC of the cosine: the same identity in another view against another identity.

    "hard": the other identity shares at least kind and colour.
    """
    whole, masked = [], []
    for index in range(len(views)):
        shown = views[index]
        crops, covers = [], []
        for image, mask, box in zip(shown.images, shown.masks, shown.boxes, strict=True):
            crops.append(crop_square(image, box, size=IMAGE_SIZE))
            cut = np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)
            covers.append(patch_cover(crop_square(cut, box, size=IMAGE_SIZE)[..., 0]))
        found = features(
            model,
            torch.from_numpy(np.stack(crops)).to(model.device),
            torch.from_numpy(np.stack(covers)).to(model.device),
        )
        whole.append(found[0].cpu().numpy())
        masked.append(found[1].cpu().numpy())
    keys = np.array([hash((i.kind, i.colour)) for i in views.identities])
    figures = {}
    for name, parts in (("class token", whole), ("masked patches", masked)):
        stacked = np.stack(parts)  # identities, views, dimensions
        count, shown_views = stacked.shape[:2]
        flat = stacked.reshape(count * shown_views, -1)
        cosine = flat @ flat.T
        owner = np.repeat(np.arange(count), shown_views)
        same = owner[:, None] == owner[None]
        upper = np.triu(np.ones_like(same), 1)
        kin = keys[owner][:, None] == keys[owner][None]
        positive = cosine[same & upper]
        figures[f"AUC, {name}"] = auc(positive, cosine[~same & upper])
        figures[f"AUC, {name}, same kind and colour"] = auc(positive, cosine[~same & upper & kin])
    return figures


def auc(positive: NDArray[np.float32], negative: NDArray[np.float32]) -> float:
    """The chance that a positive is above a negative (ties count half)."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    upto = np.searchsorted(ordered, positive, side="right")
    return float((below + upto).mean() / 2 / max(len(ordered), 1))

"""The loss of the tiny grounder, on the outputs of transformers' Grounding DINO.

The library's own loss cannot train from nothing: its two-stage proposals get no gradient and its
label maps are offset wrongly for batches of unequal prompts. This one matches boxes to queries in
every decoder layer (Hungarian: focal + 5 L1 + 2 GIoU, weights as in DETR and DINO) and teaches the
encoder's proposals with a static assignment: the few tokens next to an object's centre.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou, generalized_box_iou_loss

ALPHA, GAMMA = 0.25, 2.0
CLASS, L1, GIOU = 2.0, 5.0, 2.0
LEVELS = 3
NEAREST = 4
"""Encoder tokens that answer for an object."""


def focal(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Sum of the focal loss (Lin et al. 2017) where `mask` is set; logits there are finite."""
    logits = logits.masked_fill(~mask, 0.0).float()
    targets = targets.float()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    right = torch.where(targets > 0.5, logits.sigmoid(), 1 - logits.sigmoid())
    weight = torch.where(targets > 0.5, ALPHA, 1 - ALPHA)
    total: Tensor = (weight * (1 - right) ** GAMMA * cross_entropy * mask).sum()
    return total


def box_losses(predicted: Tensor, true: Tensor) -> Tensor:
    """Sum of weighted L1 and GIoU losses of paired (n, 4) boxes cx, cy, w, h in [0, 1]."""
    giou: Tensor = generalized_box_iou_loss(_corners(predicted), _corners(true), reduction="sum")
    return L1 * (predicted - true).abs().sum() + GIOU * giou


def grounding_loss(
    model: Any, outputs: Any, tokens: Tensor, text_mask: Tensor, boxes: list[Tensor],
    token_targets: list[Tensor],
) -> dict[str, Tensor]:  # fmt: skip
    """Losses of a batch.

    Parameters
    ----------
    model, outputs:
        GroundingDinoForObjectDetection and what it returned.
    tokens, text_mask:
        (batch, length) input ids and attention mask of the prompts.
    boxes:
        One (n, 4) tensor an image: cx, cy, w, h in [0, 1], of the objects asked for.
    token_targets:
        One (n, length) tensor an image: 1 where a token belongs to a phrase that means the object.
    """
    count = max(1, sum(len(one) for one in boxes))
    length = tokens.shape[1]
    mask = text_mask.bool()
    total_class = total_box = outputs.logits.new_zeros(())
    layers = outputs.intermediate_hidden_states.shape[1]
    for layer in range(layers):
        logits, predicted = _layer_predictions(model, outputs, layer, mask)
        class_loss, box_loss = _matched(logits[..., :length], predicted, mask, boxes, token_targets)
        total_class = total_class + class_loss
        total_box = total_box + box_loss
    encoder_class, encoder_box = _proposals(outputs, mask, boxes, token_targets, length)
    figures = {
        "class": CLASS * total_class / layers / count,
        "box": total_box / layers / count,
        "encoder": (CLASS * encoder_class + encoder_box) / NEAREST / count,
    }
    return {
        "loss": figures["class"] * layers + figures["box"] * layers + figures["encoder"]
    } | figures


def _layer_predictions(model: Any, outputs: Any, layer: int, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, queries, tokens) logits and (batch, queries, 4) boxes of a decoder layer."""
    hidden = outputs.intermediate_hidden_states[:, layer]
    reference = (
        outputs.init_reference_points
        if layer == 0
        else outputs.intermediate_reference_points[:, layer - 1]
    )
    logits = model.class_embed[layer](
        vision_hidden_state=hidden,
        text_hidden_state=outputs.encoder_last_hidden_state_text,
        text_token_mask=mask,
    )
    delta = model.bbox_embed[layer](hidden).float()
    return logits, (delta + torch.special.logit(reference.float(), eps=1e-5)).sigmoid()


def _matched(
    logits: Tensor, predicted: Tensor, mask: Tensor, boxes: list[Tensor], targets: list[Tensor]
) -> tuple[Tensor, Tensor]:
    wanted = torch.zeros_like(logits, dtype=torch.float32)
    chosen, true_boxes = [], []
    for image, (true, target) in enumerate(zip(boxes, targets, strict=True)):
        if not len(true):
            continue
        query, thing = _match(
            logits[image].detach(), predicted[image].detach(), mask[image], true, target
        )
        wanted[image, query] = target[thing]
        chosen.append(image * predicted.shape[1] + query)
        true_boxes.append(true[thing])
    class_loss = focal(logits, wanted, mask[:, None].expand_as(logits))
    return class_loss, _chosen_box_losses(predicted, chosen, true_boxes)


def _chosen_box_losses(predicted: Tensor, chosen: list[Tensor], true: list[Tensor]) -> Tensor:
    """Box losses of rows of (batch, n, 4), named by their place in (batch * n, 4)."""
    if not chosen:
        return predicted.new_zeros(())
    return box_losses(predicted.flatten(0, 1)[torch.cat(chosen)], torch.cat(true))


@torch.no_grad()
def _match(
    logits: Tensor, predicted: Tensor, mask: Tensor, true: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """The cheapest one-to-one assignment; indices of queries and of objects."""
    probability = logits.masked_fill(~mask, -50.0).float().sigmoid()
    positive = ALPHA * (1 - probability) ** GAMMA * -(probability + 1e-8).log()
    negative = (1 - ALPHA) * probability**GAMMA * -(1 - probability + 1e-8).log()
    share = target / target.sum(dim=1, keepdim=True)
    cost = CLASS * (positive - negative) @ share.T
    cost = cost + L1 * torch.cdist(predicted, true, p=1)
    cost = cost - GIOU * generalized_box_iou(_corners(predicted), _corners(true))
    query, thing = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(query), torch.as_tensor(thing)


def _proposals(
    outputs: Any, mask: Tensor, boxes: list[Tensor], targets: list[Tensor], length: int
) -> tuple[Tensor, Tensor]:
    """The encoder's class and box losses: each object is answered for by the tokens next to it."""
    logits = outputs.enc_outputs_class[..., :length]
    predicted = outputs.enc_outputs_coord_logits.float().sigmoid()
    centres = _token_centres(outputs, logits.device)
    finest = 2 * centres[0, 0]
    wanted = torch.zeros_like(logits, dtype=torch.float32)
    chosen, true_boxes = [], []
    for image, (true, target) in enumerate(zip(boxes, targets, strict=True)):
        if not len(true):
            continue
        size = true[:, 2:].amax(dim=1)
        # level l has tokens of side 2^l * the finest; an object two to three tokens wide fits best
        level = (size / finest / 2.5).log2().round().clamp(0, LEVELS - 1)
        distance = torch.cdist(true[:, :2], centres[:, :2])
        distance = distance + 10.0 * (level[:, None] != centres[None, :, 2])
        near = distance.topk(min(NEAREST, len(centres)), largest=False).indices
        for thing, tokens in enumerate(near):
            wanted[image, tokens] = torch.maximum(wanted[image, tokens], target[thing])
        chosen.append(image * predicted.shape[1] + near.flatten())
        true_boxes.append(true.repeat_interleave(near.shape[1], dim=0))
    class_loss = focal(logits, wanted, mask[:, None].expand_as(logits))
    return class_loss, _chosen_box_losses(predicted, chosen, true_boxes)


def _token_centres(outputs: Any, device: torch.device) -> Tensor:
    """(tokens, 3): x, y in [0, 1] and level of every encoder token, finest level first."""
    tokens = outputs.enc_outputs_class.shape[1]
    # square inputs: the levels are side^2, (side/2)^2, ... tokens, rounded up
    side = next(s for s in range(1, 512) if sum(_levels(s)) == tokens)
    rows = []
    for level, area in enumerate(_levels(side)):
        n = round(area**0.5)
        place = (torch.arange(n, device=device) + 0.5) / n
        y, x = torch.meshgrid(place, place, indexing="ij")
        rows.append(
            torch.stack([x.flatten(), y.flatten(), torch.full((n * n,), level * 1.0)], dim=1)
        )
    return torch.cat(rows)


def _levels(side: int) -> list[int]:
    """Tokens of each level: the next has half the side, rounded up."""
    sides = [side]
    while len(sides) < LEVELS:
        sides.append((sides[-1] + 1) // 2)
    return [s * s for s in sides]


def _corners(boxes: Tensor) -> Tensor:
    corners: Tensor = box_convert(boxes, "cxcywh", "xyxy")
    return corners

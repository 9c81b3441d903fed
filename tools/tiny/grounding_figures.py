"""Figures of the tiny grounder on held-out scenes: all phrases of a scene, two hard negatives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_convert, box_iou, nms

from imig.tabletop.vocabulary import hard_negative, is_novel, split_phrase
from tools.tiny.pool import PoolScene, ScenePool

NEGATIVES = 2
IOU = 0.5
ATTRIBUTES = ("kind", "colour", "pattern")
Pooling = Literal["max", "mean", "min"]


@dataclass(frozen=True)
class Detections:
    """What a model says to one scene's prompt, before any threshold."""

    boxes: Tensor
    """(queries, 4) x1, y1, x2, y2 in pixels"""
    scores: dict[Pooling, Tensor]
    """(queries, phrases) in [0, 1], by how a phrase's tokens are pooled"""
    phrases: list[str]
    """the scene's, in the order of its instances, then the negatives"""
    scene: PoolScene


def held_out_prompt(scene: PoolScene, *, negatives: int = NEGATIVES) -> list[str]:
    """The scene's phrases and as many absent ones; which ones follows from the scene's seed."""
    rng = np.random.default_rng((11, scene.seed))
    phrases = list(scene.phrases)
    for _ in range(negatives):
        phrases.append(hard_negative(str(rng.choice(scene.phrases)), phrases, rng))
    return phrases


@torch.inference_mode()
def detect(
    model: Any, tokenizer: Any, pool: ScenePool, preprocess: Any, *, scenes: int, batch: int = 16
) -> list[Detections]:
    """The model's answers for the first `scenes` scenes.

    `preprocess` takes (b, h, w, 3) bytes to pixel values, e.g. a partial `to_pixels`.
    """
    device = next(model.parameters()).device
    found = []
    count = min(scenes, len(pool))
    for start in range(0, count, batch):
        chunk = [pool[i] for i in range(start, min(start + batch, count))]
        prompts, orders = [], []
        for scene in chunk:
            asked = held_out_prompt(scene)
            order = np.random.default_rng((13, scene.seed)).permutation(len(asked))
            prompts.append([asked[i] for i in order])
            orders.append(np.argsort(order))
        text = tokenizer(
            [" . ".join(p) + " ." for p in prompts], padding=True, return_tensors="pt"
        ).to(device)
        pixels = preprocess(np.stack([scene.image for scene in chunk])).to(device)
        outputs = model(pixel_values=pixels, **text)
        probability = outputs.logits.float().sigmoid().cpu()
        boxes = box_convert(outputs.pred_boxes.float().cpu(), "cxcywh", "xyxy")
        stops = text["input_ids"].cpu() == tokenizer.convert_tokens_to_ids(".")
        for i, scene in enumerate(chunk):
            ends = stops[i].nonzero()[:, 0].tolist()
            starts = [1, *(end + 1 for end in ends[:-1])]
            spans = [probability[i, :, a:b] for a, b in zip(starts, ends, strict=True)]
            back = torch.as_tensor(orders[i])
            scores: dict[Pooling, Tensor] = {
                "max": torch.stack([s.amax(1) for s in spans], 1)[:, back],
                "mean": torch.stack([s.mean(1) for s in spans], 1)[:, back],
                "min": torch.stack([s.amin(1) for s in spans], 1)[:, back],
            }
            height, width = scene.image.shape[:2]
            scale = torch.tensor([width, height, width, height])
            found.append(
                Detections(boxes[i] * scale, scores, [prompts[i][j] for j in orders[i]], scene)
            )
    return found


def figures(
    found: Sequence[Detections],
    *,
    threshold: float,
    pooling: Pooling = "max",
    nms_iou: float | None = None,
) -> dict[str, float]:
    """Recall, precision, box IoU, false alarms; and these by instances, novelty, swapped attribute.

    A box stands for its best phrase. It is right when an instance of that phrase, not yet taken by
    a better box, has an IoU of at least 0.5 with it. False alarms: the share of absent phrases
    that a box stands for. With `nms_iou`, a box that overlaps a better one by more is left out
    first, as the ground stage does.
    """
    hits: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    fired: Counter[str] = Counter()
    absent: Counter[str] = Counter()
    kinds_of_error: Counter[str] = Counter()
    boxes_given = boxes_right = 0
    overlaps: list[float] = []
    for answer in found:
        count = len(answer.scene.phrases)
        score, phrase = answer.scores[pooling].max(1)
        order = score.argsort(descending=True)
        order = order[score[order] > threshold]
        if nms_iou is not None:
            order = order[nms(answer.boxes[order], score[order], nms_iou)]
        ious = box_iou(answer.boxes, torch.from_numpy(answer.scene.boxes))
        taken: dict[int, float] = {}
        spoken: set[int] = set()
        for query in order.tolist():
            said = int(phrase[query])
            spoken.add(said)
            boxes_given += 1
            if said < count and said not in taken and ious[query, said] >= IOU:
                taken[said] = float(ious[query, said])
                boxes_right += 1
            else:
                kinds_of_error[_error(answer, said, ious[query], set(taken))] += 1
        overlaps += taken.values()
        for i, text in enumerate(answer.scene.phrases):
            novel = "novel" if is_novel(*split_phrase(text)) else "trained"
            hidden = answer.scene.occluded_fractions[i]
            occluded = "hidden >= 30 %" if hidden >= 0.3 else "hidden < 30 %"
            for group in ("all", novel, f"{count} instances", occluded, split_phrase(text)[2]):
                asked[group] += 1
                hits[group] += i in taken
        for j in range(count, len(answer.phrases)):
            for group in ("all", swapped_attribute(answer.phrases[j], answer.scene.phrases)):
                absent[group] += 1
                fired[group] += j in spoken
    result = {
        "recall": hits["all"] / max(asked["all"], 1),
        "precision": boxes_right / max(boxes_given, 1),
        "box IoU": float(np.mean(overlaps)) if overlaps else 0.0,
        "false alarms": fired["all"] / max(absent["all"], 1),
    }
    result |= {f"recall, {g}": hits[g] / asked[g] for g in sorted(asked) if g != "all"}
    result |= {f"false alarms, {g}": fired[g] / absent[g] for g in sorted(absent) if g != "all"}
    result |= {
        f"wrong boxes, {g}": n / max(boxes_given, 1) for g, n in kinds_of_error.most_common()
    }
    return result


def swapped_attribute(negative: str, phrases: Sequence[str]) -> str:
    """The attribute(s) whose swap makes a present phrase this absent one, or "several".

    "colour/kind": one swap of the colour of one phrase, or of the kind of another, would do.
    """
    words = split_phrase(negative)
    differing: set[str] = set()
    for phrase in phrases:
        differ = [
            a for a, x, y in zip(ATTRIBUTES, words, split_phrase(phrase), strict=True) if x != y
        ]
        if len(differ) == 1:
            differing.add(differ[0])
    return "/".join(sorted(differing)) or "several"


def _error(answer: Detections, said: int, ious: Tensor, taken: set[int]) -> str:
    if float(ious.max()) < IOU:
        return "nothing there"
    if said in taken and ious[said] >= IOU:
        return "twice"
    return "absent phrase" if said >= len(answer.scene.phrases) else "another's phrase"


def to_pixels(images: NDArray[np.uint8], size: int, mean: Any, std: Any) -> Tensor:
    """(b, h, w, 3) bytes to (b, 3, size, size), resized and normalised as in training."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    pixels = F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True) / 255
    return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

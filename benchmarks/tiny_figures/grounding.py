"""Figures of `grounding-dino`: does it find what is there, and nothing else?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.tiny_figures.common import (
    Figure,
    Options,
    boxes_of,
    chunks,
    draw_scenes,
    load,
    pictures,
)
from imig.layout.boxes import clean_boxes, iou
from imig.models.protocols import GroundedBoxes, Grounder
from imig.stages.ground import GroundConfig
from imig.tabletop import RenderedScene
from imig.tabletop.vocabulary import hard_negative, is_novel, split_phrase

NEGATIVES = 2
MATCH_IOU = 0.5


def measure_grounding(options: Options) -> list[Figure]:
    """Boxes: the scene's phrases and two hard negatives in one prompt, thresholds of the recipe."""
    model = load("grounding-dino", options)
    hits = asked = boxes = fired = negatives = novel_hits = novel_asked = 0
    overlaps: list[float] = []
    for novel, count in ((False, options.scenes), (True, options.scenes)):
        scenes = draw_scenes(count, offset=500_000 if novel else 0, novel=novel)
        for chunk in chunks(scenes, "grounding-dino"):
            for scene, answer in zip(chunk, ground(model, chunk), strict=True):
                found = match(answer, scene)
                if novel:
                    for number, instance in enumerate(scene.instances):
                        if is_novel(*split_phrase(instance.phrase)):
                            novel_asked += 1
                            novel_hits += number in found
                    continue
                hits, asked = hits + len(found), asked + len(scene.instances)
                boxes += len(answer.boxes)
                truth = boxes_of(scene)
                overlaps += [float(iou(answer.boxes[b], truth[n])[0, 0]) for n, b in found.items()]
                absent = prompt_of(scene)[len(scene.instances) :]
                negatives += len(absent)
                fired += sum(phrase in answer.phrases for phrase in absent)
    name = "grounding-dino"
    return [
        Figure(name, "recall at IoU 0.5", hits / max(asked, 1), 0.95),
        Figure(name, "precision", hits / max(boxes, 1), 0.90),
        Figure(name, "box IoU", float(np.mean(overlaps)) if overlaps else 0.0, 0.90),
        Figure(name, "false alarms", fired / max(negatives, 1), 0.10, at_most=True),
        Figure(name, "recall, novel combinations", novel_hits / max(novel_asked, 1), 0.90),
    ]


def prompt_of(scene: RenderedScene) -> list[str]:
    """All phrases of the scene, then two hard negatives, as the issue's definition says."""
    rng = np.random.default_rng((11, scene.scene.seed))
    phrases = [i.phrase for i in scene.instances]
    for _ in range(NEGATIVES):
        near = str(rng.choice([i.phrase for i in scene.instances]))
        phrases.append(hard_negative(near, phrases, rng))
    return phrases


def ground(model: Grounder, scenes: Sequence[RenderedScene]) -> list[GroundedBoxes]:
    """Answers at the recipe's thresholds, cleaned as the ground stage does."""
    config = GroundConfig()
    orders = [np.random.default_rng((13, s.scene.seed)) for s in scenes]
    prompts = [
        [phrases[i] for i in rng.permutation(len(phrases))]
        for phrases, rng in zip(map(prompt_of, scenes), orders, strict=True)
    ]
    answers = model.ground(
        pictures(scenes),
        prompts,
        box_threshold=config.box_threshold,
        text_threshold=config.text_threshold,
    )
    cleaned = []
    for answer, scene in zip(answers, scenes, strict=True):
        height, width = scene.image.shape[:2]
        kept = clean_boxes(
            answer.boxes,
            answer.scores,
            width=width,
            height=height,
            min_side_fraction=config.min_side_fraction,
            min_area_fraction=config.min_area_fraction,
            nms_iou=config.nms_iou,
            max_boxes=config.max_boxes,
        )
        cleaned.append(
            GroundedBoxes(
                answer.boxes[kept], answer.scores[kept], [answer.phrases[i] for i in kept]
            )
        )
    return cleaned


def match(answer: GroundedBoxes, scene: RenderedScene) -> dict[int, int]:
    """Instance to the box that found it: its phrase, IoU >= 0.5, the best score first."""
    ious = iou(answer.boxes, boxes_of(scene))
    found: dict[int, int] = {}
    for box in np.argsort(-answer.scores, kind="stable"):
        for number, instance in enumerate(scene.instances):
            right = answer.phrases[box] == instance.phrase and ious[box, number] >= MATCH_IOU
            if right and number not in found:
                found[number] = int(box)
                break
    return found

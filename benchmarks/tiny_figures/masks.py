"""Figures of `segment-anything`: masks against the true ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.tiny_figures.common import (
    Figure,
    Options,
    boxes_of,
    chunks,
    draw_scenes,
    load,
    pictures,
)
from benchmarks.tiny_figures.grounding import ground, match
from imig.models.protocols import Grounder, Segmenter


def measure_masks(options: Options) -> list[Figure]:
    """Masks from true boxes, and from the tiny detector's where it found the thing."""
    model: Segmenter = load("segment-anything", options)
    grounder: Grounder = load("grounding-dino", replace(options, weights="tiny"))
    exact: list[float] = []
    detected: list[float] = []
    hidden: list[float] = []
    for chunk in chunks(draw_scenes(options.scenes, offset=0), "segment-anything"):
        images = pictures(chunk)
        truths = [np.stack([i.mask for i in scene.instances]) for scene in chunk]
        answers = model.segment(images, [boxes_of(scene) for scene in chunk])
        for scene, truth, answer in zip(chunk, truths, answers, strict=True):
            values = mask_iou(answer.masks, truth)
            exact += values
            pairs = zip(values, scene.instances, strict=True)
            hidden += [value for value, i in pairs if i.occluded_fraction > 0.05]
        grounded = ground(grounder, chunk)
        found = [match(a, scene) for a, scene in zip(grounded, chunk, strict=True)]
        boxes = [a.boxes[list(f.values())] for a, f in zip(grounded, found, strict=True)]
        answers = model.segment(images, boxes)
        for truth, some, answer in zip(truths, found, answers, strict=True):
            detected += mask_iou(answer.masks, truth[list(some)])
    name = "segment-anything"
    return [
        Figure(name, "mask IoU, true boxes", float(np.mean(exact)), 0.92),
        Figure(name, "mask IoU, detector's boxes", float(np.mean(detected or [0])), 0.92),
        Figure(name, "mask IoU, more than 5 % occluded", float(np.mean(hidden or [0]))),
    ]


def mask_iou(masks: NDArray[np.bool_], truth: NDArray[np.bool_]) -> list[float]:
    """IoU of each mask (n, h, w) with its truth."""
    either = np.maximum((masks | truth).sum((1, 2)), 1)
    return [float(value) for value in (masks & truth).sum((1, 2)) / either]

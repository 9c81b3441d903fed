"""Figures of `open-clip`: does it name what a crop shows?"""

from __future__ import annotations

import numpy as np
from PIL import Image

from benchmarks.tiny_figures.common import (
    Figure,
    Options,
    boxes_of,
    chunks,
    draw_scenes,
    load,
    pictures,
)
from imig.models.protocols import ImageTextScorer
from imig.tabletop import RenderedScene
from imig.tabletop.vocabulary import ALL_COMBINATIONS, is_novel, phrase_of, split_phrase


def measure_phrases(options: Options) -> list[Figure]:
    """Crops of things: is their phrase the first of all phrases of tabletop?"""
    model: ImageTextScorer = load("open-clip", options)
    phrases = [phrase_of(*combination) for combination in ALL_COMBINATIONS]
    texts = model.embed_texts(phrases)
    seen: list[float] = []
    hidden: list[float] = []
    unseen: list[float] = []
    for novel in (False, True):
        scenes = draw_scenes(options.scenes, offset=500_000 if novel else 0, novel=novel)
        for chunk in chunks(scenes, "open-clip"):
            for image, scene in zip(pictures(chunk), chunk, strict=True):
                best = (model.embed_images(crops(image, scene)) @ texts.T).argmax(1)
                for place, instance in zip(best, scene.instances, strict=True):
                    right = float(phrases[place] == instance.phrase)
                    if is_novel(*split_phrase(instance.phrase)):
                        unseen.append(right)
                    elif not novel:
                        seen.append(right)
                        if instance.occluded_fraction > 0.05:
                            hidden.append(right)
    name = "open-clip"
    return [
        Figure(name, f"right phrase of {len(phrases)}", float(np.mean(seen)), 0.98),
        Figure(name, "right phrase, more than 5 % occluded", float(np.mean(hidden or [0]))),
        Figure(name, "right phrase, novel combinations", float(np.mean(unseen or [0]))),
    ]


def crops(image: Image.Image, scene: RenderedScene) -> list[Image.Image]:
    """Each instance with a margin of 5 % of its box, as the crop stage cuts it."""
    result = []
    for x1, y1, x2, y2 in boxes_of(scene).tolist():
        dx, dy = 0.05 * (x2 - x1), 0.05 * (y2 - y1)
        left, top = round(max(0, x1 - dx)), round(max(0, y1 - dy))
        right, bottom = round(min(image.width, x2 + dx)), round(min(image.height, y2 + dy))
        result.append(image.crop((left, top, right, bottom)))
    return result

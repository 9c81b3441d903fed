"""Test doubles of the model protocols: deterministic, without weights.

Stage tests are about what stages do with answers; the real families have tests of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from imig.models.protocols import GroundedBoxes, SegmentedMasks


class FixedCaptioner:
    """Says one sentence about everything, and counts the images it was shown."""

    name = "double:captioner"

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        self.shown = 0

    def caption(self, images: Sequence[Image]) -> list[str]:
        self.shown += len(images)
        return [self.sentence] * len(images)


class FixedGrounder:
    """Answers the same candidates for every image."""

    name = "double:grounder"

    def __init__(
        self,
        boxes: list[list[float]],
        scores: list[float],
        phrases: list[str],
        *,
        masks: NDArray[np.bool_] | None = None,
    ) -> None:
        self.answer = GroundedBoxes(
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            scores=np.array(scores, np.float32),
            phrases=phrases,
            masks=masks,
        )
        self.asked: list[list[str]] = []

    def ground(
        self,
        images: Sequence[Image],
        phrases: Sequence[Sequence[str]],
        *,
        box_threshold: float,
        text_threshold: float,
    ) -> list[GroundedBoxes]:
        self.asked += [list(one) for one in phrases]
        return [self.answer for _ in images]


class ColourSegmenter:
    """A mask is where the image has the colour of the box's centre (within JPEG's error)."""

    name = "double:segmenter"

    def segment(
        self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        return [
            self._one(np.asarray(image, np.int16), own)
            for image, own in zip(images, boxes, strict=True)
        ]

    def _one(self, pixels: NDArray[np.int16], boxes: NDArray[np.float32]) -> SegmentedMasks:
        centres = ((boxes[:, :2] + boxes[:, 2:]) / 2).astype(int)
        masks = [(np.abs(pixels - pixels[y, x]).max(axis=2) < 24) for x, y in centres]
        return SegmentedMasks(np.array(masks), np.full(len(boxes), 0.9, np.float32))


class GivenSegmenter:
    """Answers given masks, whatever the image."""

    name = "double:segmenter"

    def __init__(self, masks: NDArray[np.bool_], scores: list[float]) -> None:
        self.answer = SegmentedMasks(masks, np.array(scores, np.float32))

    def segment(
        self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        return [self.answer for _ in images]


COLOUR_AXES = {"red": 0, "green": 1, "blue": 2}


class ColourScorer:
    """Images are their mean colour's distance from grey, texts the colours they name."""

    name = "double:scorer"

    def embed_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        means = [np.asarray(i, np.float32).reshape(-1, 3).mean(axis=0) - 128 for i in images]
        return _normalised(np.array(means))

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        features = np.full((len(texts), 3), -1.0, np.float32)
        for row, text in enumerate(texts):
            for word, axis in COLOUR_AXES.items():
                if word in text:
                    features[row, axis] = 1.0
        return _normalised(features)


class MeanColourEmbedder:
    """The mean colour under the mask, plus a constant: never zero."""

    name = "double:embedder"

    def embed(
        self, images: Sequence[Image], masks: Sequence[NDArray[np.bool_] | None] | None = None
    ) -> NDArray[np.float32]:
        rows = []
        for number, image in enumerate(images):
            mask = masks[number] if masks is not None else None
            pixels = np.asarray(image, np.float32)
            inside = pixels.reshape(-1, 3) if mask is None else pixels[mask]
            rows.append(np.append(inside.mean(axis=0), 1.0))
        return _normalised(np.array(rows, np.float32))


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return np.asarray(rows / lengths, dtype=np.float32)


def digest(files: dict[str, bytes]) -> str:
    """One hash of all members, names included."""
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(name.encode() + b"\0" + files[name])
    return whole.hexdigest()

"""What a stage may ask of a model, whatever the family behind it.

Every method is batched: it takes a sequence and returns a list of the same length and order. Images
are RGB PIL images of any size; a family resizes for its model and answers in pixels of the image
it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image


@dataclass(frozen=True)
class GroundedBoxes:
    """Candidates of one image, best first; not yet cleaned (see `imig.layout.boxes`)."""

    boxes: NDArray[np.float32]
    """(n, 4) x1, y1, x2, y2 in pixels, clipped to the image."""
    scores: NDArray[np.float32]
    """(n,) in [0, 1]: the best matching phrase's score."""
    phrases: list[str]
    """The prompt's phrase that each box matches best; "" when none reaches the text threshold."""


@dataclass(frozen=True)
class SegmentedMasks:
    """One mask for each box asked for."""

    masks: NDArray[np.bool_]
    """(n, height, width) in pixels of the image."""
    scores: NDArray[np.float32]
    """(n,) IoU that the model predicts for its own mask, clipped to [0, 1]."""


@runtime_checkable
class Model(Protocol):
    """What all families share."""

    name: str
    """family:weights@revision, as recorded in scenes and manifest."""


@runtime_checkable
class Captioner(Model, Protocol):
    def caption(self, images: Sequence[Image]) -> list[str]:
        """One caption an image."""
        ...


@runtime_checkable
class Grounder(Model, Protocol):
    def ground(
        self,
        images: Sequence[Image],
        phrases: Sequence[Sequence[str]],
        *,
        box_threshold: float,
        text_threshold: float,
    ) -> list[GroundedBoxes]:
        """Find each image's phrases (lower-cased and joined by " . " for the model)."""
        ...


@runtime_checkable
class Segmenter(Model, Protocol):
    def segment(
        self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        """A mask for each box; one image embedding serves all boxes of an image."""
        ...


@runtime_checkable
class ImageEmbedder(Model, Protocol):
    def embed(
        self, images: Sequence[Image], masks: Sequence[NDArray[np.bool_] | None] | None = None
    ) -> NDArray[np.float32]:
        """(n, dimensions), L2-normalised.

        With a mask: the mean of the patch tokens under it (released pipeline, flexible subset);
        without: the whole-image feature (class token).
        """
        ...


@runtime_checkable
class ImageTextScorer(Model, Protocol):
    def embed_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """(n, dimensions), L2-normalised."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, dimensions), L2-normalised, in the same space as the images."""
        ...

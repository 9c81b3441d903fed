"""Are the subjects where the layout wants them, and are they who they are?

The toolkit's own eyes look: Grounding DINO searches the phrases, segment-anything masks what lies
in the wanted boxes, DINO compares it with the references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.layout.boxes import iou
from imig.models.protocols import GroundedBoxes, Grounder, ImageEmbedder, Segmenter
from imig.models.registry import load_model
from imig.recipe.parts import ModelConfig
from imig.shards.views import SceneView
from imig.stages.ground import GroundConfig

BATCH = 16
SUCCESS_IOU = 0.5

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Figures:
    """Means over the instances of all scenes."""

    box_iou: float
    """Of the box found for an instance's phrase with the wanted box; 0 where none was found."""
    success: float
    """Share of instances whose box IoU reaches 0.5."""
    own_similarity: float
    """DINO cosine between what is in the wanted place and the instance's reference."""
    other_similarity: float
    """The same with the references of the scene's other instances."""
    own_nearest: float
    """Share of instances to which no other reference of the scene is nearer than their own."""


class Eyes:
    """The models that look."""

    def __init__(self, *, weights: str = "tiny", device: str = "auto") -> None:
        def load(family: str) -> Any:
            config = ModelConfig(family=family, weights=weights, device=device)
            return load_model(config, batch_size=BATCH)

        self._grounder: Grounder = load("grounding-dino")
        self._segmenter: Segmenter = load("segment-anything")
        self._embedder: ImageEmbedder = load("dinov2")

    def measure(
        self, pictures: Sequence[NDArray[np.uint8]], scenes: Sequence[SceneView]
    ) -> Figures:
        """Figures of one picture for each scene; a picture is looked at in the scene's size."""
        images = [
            Image.fromarray(picture).resize(scene.target.size, Image.Resampling.LANCZOS)
            for picture, scene in zip(pictures, scenes, strict=True)
        ]
        overlaps: list[float] = []
        own: list[float] = []
        other: list[float] = []
        nearest: list[bool] = []
        for start in range(0, len(scenes), BATCH):
            some, seen = scenes[start : start + BATCH], images[start : start + BATCH]
            overlaps += self._overlaps(seen, some)
            for cosines in self._similarities(seen, some):
                right = np.diag(cosines)
                own += right.tolist()
                other += cosines[~np.eye(len(cosines), dtype=bool)].tolist()
                nearest += (right >= cosines.max(axis=1)).tolist()
        return Figures(
            box_iou=float(np.mean(overlaps)),
            success=float(np.mean(np.asarray(overlaps) >= SUCCESS_IOU)),
            own_similarity=float(np.mean(own)),
            other_similarity=float(np.mean(other)),
            own_nearest=float(np.mean(nearest)),
        )

    def _overlaps(self, images: Sequence[Image.Image], scenes: Sequence[SceneView]) -> list[float]:
        """IoU of each instance's best box with the wanted one."""
        config = GroundConfig()
        answers = self._grounder.ground(
            images,
            [[one.record.phrase for one in scene.instances] for scene in scenes],
            box_threshold=config.box_threshold,
            text_threshold=config.text_threshold,
        )
        return [
            _overlap(answer, phrase=one.record.phrase, box=one.record.box)
            for answer, scene in zip(answers, scenes, strict=True)
            for one in scene.instances
        ]

    def _similarities(
        self, images: Sequence[Image.Image], scenes: Sequence[SceneView]
    ) -> list[Floats]:
        """For each scene (instances, references): DINO cosines, as the score stage has them."""
        boxes = [
            np.array([one.record.box for one in scene.instances], np.float32) for scene in scenes
        ]
        masks = [answer.masks for answer in self._segmenter.segment(images, boxes)]
        found = []
        for image, scene, own_masks in zip(images, scenes, masks, strict=True):
            references = [one.references[0] for one in scene.instances]
            wanted = self._embedder.embed(
                [one.image for one in references], [one.mask for one in references]
            )
            drawn = self._embedder.embed([image] * len(own_masks), list(own_masks))
            found.append(drawn @ wanted.T)
        return found


def _overlap(answer: GroundedBoxes, *, phrase: str, box: tuple[int, int, int, int]) -> float:
    named = [i for i, one in enumerate(answer.phrases) if one == phrase]
    if not named:
        return 0.0
    best = max(named, key=lambda i: float(answer.scores[i]))
    return float(iou(answer.boxes[best][None], np.array([box]))[0, 0])

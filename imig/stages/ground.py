"""ground: a box for each thing that the noun phrases name."""

from __future__ import annotations

import hashlib
import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from imig.layout.boxes import clean_boxes
from imig.layout.masks import mask_to_rle
from imig.models.protocols import GroundedBoxes, Grounder
from imig.recipe.parts import Fraction, ModelConfig, StageConfig
from imig.sample import Sample
from imig.schema import Box, Detection, Instance, Scene
from imig.stages.base import Stage, Uses, loaded
from imig.stages.instances import set_instances
from imig.stages.loading import grounds_masks
from imig.stages.nouns import head_noun

SHOWN_LETTERS = 60
UNREAD_PHRASE = "phrase that the model cannot take"
"""An oddity: it is not looked for; the scene's other phrases are."""


class GroundConfig(StageConfig):
    """Boxes for the nouns, cleaned as in the released pipeline."""

    model: Annotated[ModelConfig, Uses(Grounder)] = ModelConfig(family="grounding-dino")
    box_threshold: Fraction = Field(default=0.35, description="Released pipeline: 0.35.")
    text_threshold: Fraction = Field(default=0.25, description="Released pipeline: 0.25.")
    min_side_fraction: Fraction = Field(
        default=1 / 16,
        description="A box narrower or lower than this share of the image is dropped when its "
        "area is below `min_area_fraction` too (released pipeline: 1/16).",
    )
    min_area_fraction: Fraction = Field(default=1 / 200, description="Released pipeline: 1/200.")
    nms_iou: Fraction = Field(default=0.625, description="Released pipeline: 0.625.")
    max_boxes: int = Field(default=8, gt=0, description="Released pipeline: 8.")
    one_box_per_phrase: bool = Field(
        default=False,
        description="Keep only the best box of a phrase: for captions whose phrases single out one "
        "thing each.",
    )
    min_instances: int = Field(default=1, ge=0, description="Fewer boxes: the scene is rejected.")


class GroundStage(Stage[GroundConfig]):
    """Finds the scene's nouns; instances are numbered from left to right.

    Turns down: "no nouns to look for", "too few boxes".
    """

    name = "ground"
    reads = frozenset({"target", "nouns"})
    writes = frozenset({"boxes"})

    grounder: Grounder = loaded("model")

    def prepare(self) -> None:
        if self.skipped() is None and grounds_masks(self.config.model):
            self.writes = frozenset({"boxes", "grounded masks"})

    def skipped(self) -> str | None:
        return "the source has boxes" if "boxes" in self.context.given else None

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        if self.skipped() is not None:
            return samples
        for sample in samples:
            if not sample.scene.nouns:
                sample.turn_down(stage=self.name, reason="no nouns to look for", figures={})
        asked = [sample for sample in samples if sample.reject is None]
        if not asked:
            return samples
        found = self.grounder.ground(
            [sample.target() for sample in asked],
            [sample.scene.nouns for sample in asked],
            box_threshold=self.config.box_threshold,
            text_threshold=self.config.text_threshold,
        )
        for sample, candidates in zip(asked, found, strict=True):
            for phrase in candidates.unread:
                sample.note_oddity(UNREAD_PHRASE, shown_phrase(phrase))
            instances = self._store(sample, candidates)
            if len(instances) < self.config.min_instances:
                sample.turn_down(
                    stage=self.name,
                    reason="too few boxes",
                    figures={
                        "boxes": len(instances),
                        "candidates": len(candidates.boxes),
                        "min_instances": self.config.min_instances,
                        **_unread_figures(candidates),
                    },
                )
        return samples

    def _store(self, sample: Sample, candidates: GroundedBoxes) -> list[Instance]:
        """Make instances of the candidates that are good enough, from left to right."""
        scene, model = sample.scene, self.grounder.name
        kept = self._choose(candidates, scene)
        found = [(_to_instance(candidates, i, scene, model=model), i) for i in kept]
        found.sort(key=lambda one: (one[0].box[0] + one[0].box[2], one[0].box, one[0].phrase))
        for index, (instance, _) in enumerate(found):
            instance.identity_id = identity_id(scene, index)
        instances = [instance for instance, _ in found]
        set_instances(sample, instances, layer_order=[])
        if candidates.masks is not None:
            sample.grounded_masks = {
                instance.identity_id: mask_to_rle(candidates.masks[i]) for instance, i in found
            }
        return instances

    def _choose(self, candidates: GroundedBoxes, scene: Scene) -> list[int]:
        """Indices of the candidates that become instances, best first.

        Those without a phrase or without area go first, so that they suppress nothing and take no
        place among the best `max_boxes`.
        """
        boxes = candidates.boxes
        sides = boxes[:, 2:] - boxes[:, :2]
        named = [i for i, phrase in enumerate(candidates.phrases) if phrase and sides[i].min() > 0]
        if self.config.one_box_per_phrase:
            named = _best_of_each_phrase(candidates, named)
        kept = clean_boxes(
            boxes[named],
            candidates.scores[named],
            width=scene.width,
            height=scene.height,
            min_side_fraction=self.config.min_side_fraction,
            min_area_fraction=self.config.min_area_fraction,
            nms_iou=self.config.nms_iou,
            max_boxes=self.config.max_boxes,
        )
        return [named[int(i)] for i in kept]


def identity_id(scene: Scene, index: int) -> str:
    """A stable name for what is seen once only: twelve hexadecimal digits."""
    return hashlib.sha256(f"{scene.seed}/{scene.id}/{index}".encode()).hexdigest()[:12]


def shown_phrase(phrase: str) -> str:
    """A phrase for a report: invisible characters as escapes, no longer than a line."""
    text = ascii(phrase) if not phrase.isprintable() or not phrase.strip() else repr(phrase)
    return (
        text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}.. ({len(phrase)} letters)"
    )


def _unread_figures(candidates: GroundedBoxes) -> dict[str, int | str]:
    if not candidates.unread:
        return {}
    first = shown_phrase(candidates.unread[0])
    return {"unread_phrases": len(candidates.unread), "first_unread": first}


def round_outwards(box: NDArray[np.float32], *, width: int, height: int) -> Box:
    """The smallest box of whole pixels around a box, inside the image, at least 1 pixel a side."""
    x1 = min(max(math.floor(float(box[0])), 0), width - 1)
    y1 = min(max(math.floor(float(box[1])), 0), height - 1)
    x2 = max(min(math.ceil(float(box[2])), width), x1 + 1)
    y2 = max(min(math.ceil(float(box[3])), height), y1 + 1)
    return x1, y1, x2, y2


def _best_of_each_phrase(candidates: GroundedBoxes, indices: list[int]) -> list[int]:
    best: dict[str, int] = {}
    for i in indices:
        rival = best.setdefault(candidates.phrases[i], i)
        if candidates.scores[i] > candidates.scores[rival]:
            best[candidates.phrases[i]] = i
    return sorted(best.values())


def _to_instance(candidates: GroundedBoxes, i: int, scene: Scene, *, model: str) -> Instance:
    phrase = candidates.phrases[i]
    return Instance(
        index=0,  # numbered, and named, once all are known
        identity_id="",
        phrase=phrase,
        noun=head_noun(phrase),
        box=round_outwards(candidates.boxes[i], width=scene.width, height=scene.height),
        grounding=Detection(score=round(float(candidates.scores[i]), 4), model=model),
    )

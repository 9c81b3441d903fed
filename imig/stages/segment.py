"""segment: a mask for each box, and from the masks the layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from imig.layout.masks import (
    Mask,
    clip_mask_to_box,
    despeckle,
    mask_area,
    mask_to_box,
    mask_to_rle,
    rle_to_mask,
)
from imig.models.protocols import SegmentedMasks, Segmenter
from imig.recipe.parts import Fraction, ModelConfig, StageConfig
from imig.sample import Sample
from imig.schema import Box, Detection, Instance
from imig.stages.base import Stage, Uses, loaded
from imig.stages.instances import set_instances
from imig.stages.layers import occluded_fractions, stack_masks


class SegmentConfig(StageConfig):
    """A mask for each box."""

    model: Annotated[ModelConfig | None, Uses(Segmenter)] = Field(
        default=ModelConfig(family="segment-anything"),
        description="null: no model; the masks are those that `ground` found with its boxes, for "
        "families that find both (`sam3`).",
    )
    min_score: Fraction = Field(
        default=0.0,
        description="Masks whose predicted IoU is lower are dropped. Of a mask that `ground` found "
        "the score is that of its box.",
    )
    clip_to_box: bool = Field(
        default=True, description="Cut what the mask has outside its box, so boxes hold masks."
    )


class SegmentStage(Stage[SegmentConfig]):
    """Masks are visible parts: disjoint, contested pixels going to the nearer instance.

    Without a model they are made of the masks that `ground` found, cleaned in the same way.

    Turns down: "no mask left".
    """

    name = "segment"
    reads = frozenset({"target", "boxes"})
    writes = frozenset({"masks"})

    segmenter: Segmenter = loaded("model")

    def prepare(self) -> None:
        if self.skipped() is None and self.config.model is None:
            self.reads = self.reads | {"grounded masks"}

    def skipped(self) -> str | None:
        return "the source has masks" if "masks" in self.context.given else None

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        if self.skipped() is not None:
            return samples
        asked = [sample for sample in samples if sample.scene.instances]
        for sample, segmented in zip(asked, self._segment(asked), strict=True):
            self._store(sample, segmented)
        for sample in samples:
            sample.grounded_masks = {}
            if not sample.scene.instances:
                sample.turn_down(stage=self.name, reason="no mask left", figures={})
        return samples

    def _segment(self, samples: list[Sample]) -> list[SegmentedMasks]:
        """A mask for each instance of each sample."""
        if self.config.model is None:
            return [_grounded(sample) for sample in samples]
        if not samples:
            return []
        return self.segmenter.segment(
            [sample.target() for sample in samples],
            [np.array([i.box for i in s.scene.instances], np.float32) for s in samples],
        )

    def _store(self, sample: Sample, segmented: SegmentedMasks) -> None:
        pieces = [
            piece
            for instance, mask, score in zip(
                sample.scene.instances, segmented.masks, segmented.scores, strict=True
            )
            if (piece := self._tidy(instance, mask, float(score))) is not None
        ]
        pieces, order = _resolve(pieces)
        boxes, masks = [piece.box for piece in pieces], [piece.mask for piece in pieces]
        hidden = occluded_fractions(boxes, masks, order)
        for piece, fraction in zip(pieces, hidden, strict=True):
            instance = piece.instance
            instance.box = piece.box
            instance.mask = mask_to_rle(piece.mask)
            instance.area = mask_area(piece.mask)
            instance.occluded_fraction = fraction
            instance.segmentation = Detection(score=piece.score, model=self._model_of(instance))
        set_instances(sample, [piece.instance for piece in pieces], layer_order=order)

    def _model_of(self, instance: Instance) -> str:
        """The model that the instance's mask is of."""
        if self.config.model is not None:
            return self.segmenter.name
        assert instance.grounding is not None, "its mask is of the model that found its box"
        return instance.grounding.model

    def _tidy(self, instance: Instance, mask: Mask, score: float) -> _Piece | None:
        """The instance's mask without crumbs, None where it is empty or too uncertain."""
        if score < self.config.min_score:
            return None
        if self.config.clip_to_box:
            mask = clip_mask_to_box(mask, instance.box)
        around = mask_to_box(mask)
        if around is None:
            return None
        mask = _despeckle_within(mask, around)
        around = mask_to_box(mask) or around
        # Without clipping the box grows instead: boxes hold masks either way.
        return _Piece(instance, _join(instance.box, around), mask, round(min(score, 1.0), 4))


@dataclass
class _Piece:
    """An instance and what becomes of it."""

    instance: Instance
    box: Box
    mask: Mask
    score: float


def _grounded(sample: Sample) -> SegmentedMasks:
    """The masks that came with the boxes; an empty one for what a stage in between has added."""
    scene = sample.scene
    masks = np.zeros((len(scene.instances), scene.height, scene.width), np.bool_)
    scores = np.zeros(len(masks), np.float32)
    for row, instance in enumerate(scene.instances):
        found = sample.grounded_masks.get(instance.identity_id)
        if found is not None and instance.grounding is not None:
            masks[row], scores[row] = rle_to_mask(found), instance.grounding.score
    return SegmentedMasks(masks, scores)


def _despeckle_within(mask: Mask, box: Box) -> Mask:
    """`despeckle` of the part that holds all set pixels: the same result, several times faster."""
    x1, y1, x2, y2 = box
    tidied = np.zeros_like(mask)
    tidied[y1:y2, x1:x2] = despeckle(mask[y1:y2, x1:x2])
    return tidied


def _join(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _resolve(pieces: list[_Piece]) -> tuple[list[_Piece], list[int]]:
    """Make the masks disjoint; what is wholly hidden is left out. Returns pieces, layer order."""
    kept, visible, order = stack_masks(
        [piece.box for piece in pieces], [piece.mask for piece in pieces]
    )
    seen = [pieces[number] for number in kept]
    for piece, mask in zip(seen, visible, strict=True):
        piece.mask = mask
    return seen, order

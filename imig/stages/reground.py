"""reground: the subject of each drawn view found again: its box by grounding, its mask.

Complex: in the edited views. Flexible: in the pictures of the subjects alone, which are then
cropped to the subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from imig.layout.masks import Mask, box_coverage, clip_mask_to_box, despeckle, mask_to_box
from imig.models.protocols import GroundedBoxes, Grounder, Segmenter
from imig.recipe.parts import Fraction, ModelConfig, StageConfig
from imig.sample import Sample, decode_image, image_to_jpeg, mask_to_png
from imig.schema import Box, Detection, Reference
from imig.stages.base import Stage, Uses, loaded
from imig.stages.ground import round_outwards
from imig.stages.nouns import head_noun
from imig.stages.pixels import crop_mask, grow_box


class RegroundConfig(StageConfig):
    """The subject of each drawn view found again: its box and its mask."""

    ground_model: Annotated[ModelConfig, Uses(Grounder)] = ModelConfig(family="grounding-dino")
    segment_model: Annotated[ModelConfig, Uses(Segmenter)] = ModelConfig(family="segment-anything")
    box_threshold: Fraction = Field(default=0.35, description="Released pipeline: 0.35.")
    text_threshold: Fraction = Field(default=0.25, description="Released pipeline: 0.25.")
    ask: Literal["phrase", "noun"] = Field(
        default="noun",
        description="What is looked for: the whole phrase, or its noun alone, which is surer where "
        "the view shows nothing else.",
    )
    min_score: Fraction = Field(
        default=0.0, description="Masks whose predicted IoU is lower count as not found."
    )
    margin: Fraction | None = Field(
        default=0.05,
        description="flexible: the view is cropped to its subject with this margin (share of the "
        "box); null: it stays whole. Edited views stay whole.",
    )
    max_aspect: float = Field(default=5.0, ge=1, description="Longer side over shorter side.")


class RegroundStage(Stage[RegroundConfig]):
    """Gives every drawn view a subject box and a mask; a view without a subject is dropped.

    Turns down: "no view shows its subject".
    """

    name = "reground"
    writes = frozenset({"views"})

    grounder: Grounder = loaded("ground_model")
    segmenter: Segmenter = loaded("segment_model")

    def prepare(self) -> None:
        self.reads = frozenset(
            {"drawn views" if self.context.subset == "flexible" else "edited views"}
        )

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        views = [_views(sample) for sample in samples]
        everything = [view for some in views for view in some]
        if everything:
            self._ground(everything)
            self._segment([view for view in everything if view.box is not None])
        for sample, some in zip(samples, views, strict=True):
            for view in some:
                self._store(sample, view)
            missed = [view.reference.name for view in some if view.mask is None]
            _drop_views(sample, missed)
            if len(missed) == len(some):
                sample.turn_down(
                    stage=self.name,
                    reason="no view shows its subject",
                    figures={"views": len(some)},
                )
        return samples

    def _ground(self, views: list[_View]) -> None:
        asked = [
            view.phrase if self.config.ask == "phrase" else head_noun(view.phrase) for view in views
        ]
        found = self.grounder.ground(
            [view.image for view in views],
            [[phrase] for phrase in asked],
            box_threshold=self.config.box_threshold,
            text_threshold=self.config.text_threshold,
        )
        for view, candidates in zip(views, found, strict=True):
            best = _best(candidates)
            if best is None:
                continue
            width, height = view.image.size
            view.box = round_outwards(candidates.boxes[best], width=width, height=height)
            view.reference.grounding = Detection(
                score=round(float(candidates.scores[best]), 4), model=self.grounder.name
            )

    def _segment(self, views: list[_View]) -> None:
        if not views:
            return
        found = self.segmenter.segment(
            [view.image for view in views],
            [np.array([view.box], np.float32) for view in views],
        )
        for view, segmented in zip(views, found, strict=True):
            score = round(min(float(segmented.scores[0]), 1.0), 4)
            if score < self.config.min_score or view.box is None:
                continue
            mask = despeckle(clip_mask_to_box(segmented.masks[0], view.box))
            bounds = mask_to_box(mask)
            if bounds is None or _aspect(bounds) > self.config.max_aspect:
                continue
            view.mask = mask
            view.reference.segmentation = Detection(score=score, model=self.segmenter.name)
            view.reference.coverage = round(min(box_coverage(mask, view.box)), 4)

    def _store(self, sample: Sample, view: _View) -> None:
        reference, mask = view.reference, view.mask
        if mask is None:
            return
        bounds = mask_to_box(mask)
        assert bounds is not None
        if reference.kind == "source" and self.config.margin is not None:
            width, height = view.image.size
            cut = grow_box(bounds, margin=self.config.margin, width=width, height=height)
            mask = crop_mask(mask, cut)
            sample.files[reference.image] = image_to_jpeg(view.image.crop(cut))
            reference.width, reference.height = cut[2] - cut[0], cut[3] - cut[1]
            if reference.drawing is not None:
                reference.drawing.cut = cut
            bounds = (
                bounds[0] - cut[0], bounds[1] - cut[1], bounds[2] - cut[0], bounds[3] - cut[1],
            )  # fmt: skip
        reference.subject_box = bounds
        reference.mask = f"{reference.name}.mask.png"
        sample.files[reference.mask] = mask_to_png(mask)


@dataclass
class _View:
    """A view to look at, and what is found in it."""

    reference: Reference
    phrase: str
    image: Image.Image
    box: Box | None = None
    mask: Mask | None = None


def _views(sample: Sample) -> list[_View]:
    """The views of a sample that a generator drew."""
    scene = sample.scene
    drawn = [(one.reference, scene.subjects[one.subject].phrase) for one in sample.drawn]
    edited = [
        (reference, instance.phrase)
        for instance in scene.instances
        for reference in instance.references
        if reference.kind == "edit"
    ]
    return [
        _View(reference, phrase, decode_image(sample.files[reference.image]))
        for reference, phrase in drawn + edited
    ]


def _drop_views(sample: Sample, names: list[str]) -> None:
    """Forget these references and their pictures."""
    sample.drawn = [view for view in sample.drawn if view.reference.name not in names]
    for instance in sample.scene.instances:
        instance.references = [one for one in instance.references if one.name not in names]
    for name in names:
        del sample.files[f"{name}.jpg"]


def _best(candidates: GroundedBoxes) -> int | None:
    """The candidate with the highest score that has a phrase and an area; the first of equals."""
    for i in np.argsort(-candidates.scores, kind="stable"):
        x1, y1, x2, y2 = candidates.boxes[i]
        if candidates.phrases[i] and x2 > x1 and y2 > y1:
            return int(i)
    return None


def _aspect(box: Box) -> float:
    shorter, longer = sorted((box[2] - box[0], box[3] - box[1]))
    return longer / shorter

"""coco_mig: position and colour of every instance, by the rule of COCO-MIG's evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from imig.errors import UsageError
from imig.evaluation.case import Case, Mask
from imig.evaluation.colour_rule import MIN_SHARE, ColourSet, has_colour
from imig.evaluation.look import Seen
from imig.evaluation.metrics.base import Measure, Metric, MetricConfig, Values
from imig.evaluation.metrics.colour import named_colour
from imig.layout.boxes import iou, non_maximum_suppression
from imig.models.protocols import GroundedBoxes, Grounder, ProposingSegmenter, Segmenter
from imig.recipe.parts import Fraction, ModelConfig
from imig.stages.base import Uses, loaded


class CocoMigConfig(MetricConfig):
    """The released evaluator's models and constants."""

    ground_model: Annotated[ModelConfig, Uses(Grounder)] = ModelConfig(family="grounding-dino")
    segment_model: Annotated[ModelConfig, Uses(Segmenter)] = ModelConfig(family="segment-anything")
    box_threshold: Fraction = Field(default=0.25, description="Released evaluator: 0.25.")
    text_threshold: Fraction = Field(default=0.25, description="Released evaluator: 0.25.")
    nms_iou: Fraction = Field(default=0.8, description="Released evaluator: 0.8.")
    min_iou: Fraction = Field(default=0.5, description="Released evaluator: 0.5.")
    masks: Literal["best", "single"] = Field(
        default="best",
        description="Whose pixels the colour is judged by. best: of the segmenter's proposals for "
        "the wanted box the one that it trusts most, as released; single: its one answer, for "
        "segmenters without proposals.",
    )
    ranges: ColourSet = Field(
        default="v2",
        description="Of colours, docs/evaluation.md has both sets. v2: in force today; v1: of the "
        "evaluator's first release. Which of them made printed figures is not said anywhere.",
    )
    min_colour_share: Fraction = Field(default=MIN_SHARE, description="Released evaluator: 0.2.")


class CocoMigMetric(Metric[CocoMigConfig]):
    """Success of instances and pictures, and the IoU that counts, as COCO-MIG's tables have them.

    Each instance is judged by itself: its noun alone is looked for, of all that is found the box
    with the largest IoU counts (two instances may share one), and the colour is that of the mask in
    the *wanted* box.
    """

    name = "coco_mig"
    measures = (
        Measure(
            name="mig_success", title="I-SR", unit="instance", percent=True,
            meaning="Share of instances in place and of the right colour.",
        ),
        Measure(
            name="mig_all_success", title="SR", unit="picture", percent=True,
            meaning="Share of pictures all of whose instances are.",
        ),
        Measure(
            name="mig_iou", title="mIoU", unit="instance", percent=True,
            meaning="IoU of what was found with the wanted box; 0 for an instance that is in place "
            "and of a wrong colour.",
        ),
        Measure(
            name="mig_placed", title="in place", unit="instance", percent=True,
            meaning="Share of instances in place, of whatever colour.",
        ),
        Measure(
            name="mig_coloured", title="right colour", unit="instance", percent=True,
            meaning="Share of the right colour among instances in place.",
        ),
    )  # fmt: skip

    grounder: Grounder = loaded("ground_model")
    segmenter: Segmenter = loaded("segment_model")

    def setup(self) -> None:
        super().setup()
        if self.config.masks == "best" and not isinstance(self.segmenter, ProposingSegmenter):
            family = self.config.segment_model.family
            raise UsageError(
                f"{self.name}.masks: {family} makes no proposals to take the best of",
                cure=f"use segment-anything, as COCO-MIG does, or --set {self.name}.masks=single",
            )

    def lacks(self, case: Case) -> str | None:
        if all(one.box is not None and named_colour(one) for one in case.instances):
            return None
        return "instances without a box or without a colour that the rule knows"

    def __call__(self, seen: Sequence[Seen]) -> list[Values]:
        best = [
            self._best_overlaps(own, one.case)
            for own, one in zip(self._find(seen), seen, strict=True)
        ]
        placed = [overlaps >= self.config.min_iou for overlaps in best]
        masks = self._masks(seen, placed)
        return [
            self._judge(one, overlaps, own, mask)
            for one, overlaps, own, mask in zip(seen, best, placed, masks, strict=True)
        ]

    def _find(self, seen: Sequence[Seen]) -> list[dict[str, GroundedBoxes]]:
        """Of each picture, what answers to each noun, looked for alone."""
        asked = [
            (number, noun)
            for number, one in enumerate(seen)
            for noun in dict.fromkeys(instance.thing for instance in one.case.instances)
        ]
        answers = self.grounder.ground(
            [seen[number].image for number, _ in asked],
            [[noun] for _, noun in asked],
            box_threshold=self.config.box_threshold,
            text_threshold=self.config.text_threshold,
        )
        found: list[dict[str, GroundedBoxes]] = [{} for _ in seen]
        for (number, noun), answer in zip(asked, answers, strict=True):
            found[number][noun] = answer
        return found

    def _best_overlaps(self, found: dict[str, GroundedBoxes], case: Case) -> NDArray[np.float64]:
        """(instances,): the largest IoU of anything found with the wanted box."""
        best = np.zeros(len(case.instances))
        for number, instance in enumerate(case.instances):
            assert instance.box is not None
            answer = found[instance.thing]
            kept = non_maximum_suppression(answer.boxes, answer.scores, iou=self.config.nms_iou)
            if len(kept):
                best[number] = iou([instance.box], answer.boxes[kept]).max()
        return best

    def _masks(
        self, seen: Sequence[Seen], placed: Sequence[NDArray[np.bool_]]
    ) -> list[dict[int, Mask]]:
        """Of each picture, the masks in the wanted boxes of the instances that are in place."""
        segment = (
            self.segmenter.segment_best
            if isinstance(self.segmenter, ProposingSegmenter) and self.config.masks == "best"
            else self.segmenter.segment
        )
        boxes = [
            np.array([one.case.instances[i].box for i in np.flatnonzero(own)], np.float32).reshape(
                -1, 4
            )
            for one, own in zip(seen, placed, strict=True)
        ]
        answers = segment([one.image for one in seen], boxes)
        return [
            dict(zip(np.flatnonzero(own).tolist(), answer.masks, strict=True))
            for own, answer in zip(placed, answers, strict=True)
        ]

    def _judge(
        self,
        seen: Seen,
        overlaps: NDArray[np.float64],
        placed: NDArray[np.bool_],
        masks: dict[int, Mask],
    ) -> Values:
        pixels = np.asarray(seen.image)
        coloured: list[float | None] = [None] * len(placed)
        counted = overlaps.copy()
        for number, mask in masks.items():
            colour = named_colour(seen.case.instances[number])
            assert colour is not None
            right = has_colour(
                pixels,
                mask,
                colour,
                ranges=self.config.ranges,
                min_share=self.config.min_colour_share,
            )
            coloured[number] = float(right)
            if not right:
                counted[number] = 0.0
        success = [float(one == 1.0) for one in coloured]
        return {
            "mig_success": success,
            "mig_all_success": [float(all(success))],
            "mig_iou": counted.tolist(),
            "mig_placed": placed.astype(float).tolist(),
            "mig_coloured": coloured,
        }

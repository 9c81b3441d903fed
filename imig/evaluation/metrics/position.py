"""position: are the subjects where they were asked for?"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from imig.evaluation.case import Case
from imig.evaluation.look import Seen
from imig.evaluation.metrics.base import Measure, Metric, MetricConfig, Values
from imig.recipe.parts import Fraction


class PositionConfig(MetricConfig):
    """Boxes that are found, compared with the wanted ones."""

    min_iou: Fraction = Field(
        default=0.5, description="From which on an instance is in place (COCO-MIG: 0.5)."
    )


class PositionMetric(Metric[PositionConfig]):
    """IoU of what is found with what was asked for."""

    name = "position"
    looks = True
    measures = (
        Measure(
            name="box_iou", title="mIoU", unit="instance", percent=True,
            meaning="IoU of the box found for an instance with the wanted one; 0: not found.",
        ),
        Measure(
            name="placed", title="I-SR", unit="instance", percent=True,
            meaning="Share of instances whose IoU reaches `position.min_iou`.",
        ),
        Measure(
            name="all_placed", title="SR", unit="picture", percent=True,
            meaning="Share of pictures whose instances are all in place.",
        ),
    )  # fmt: skip

    def lacks(self, case: Case) -> str | None:
        return None if any(one.box for one in case.instances) else "no boxes"

    def __call__(self, seen: Sequence[Seen]) -> list[Values]:
        return [self._measure(one) for one in seen]

    def _measure(self, seen: Seen) -> Values:
        overlaps = [
            None if instance.box is None else 0.0 if found is None else found.iou
            for instance, found in zip(seen.case.instances, seen.found, strict=True)
        ]
        placed = [None if one is None else float(one >= self.config.min_iou) for one in overlaps]
        asked = [one for one in placed if one is not None]
        return {"box_iou": overlaps, "placed": placed, "all_placed": [float(all(asked))]}

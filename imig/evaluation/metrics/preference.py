"""preference: would people choose the picture for its caption?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from imig.evaluation.case import Case
from imig.evaluation.look import Seen
from imig.evaluation.metrics.base import Measure, Metric, MetricConfig, Values
from imig.models.protocols import PreferenceJudge
from imig.recipe.parts import ModelConfig
from imig.stages.base import Uses, loaded


class PreferenceConfig(MetricConfig):
    """A model of what people prefer."""

    model: Annotated[ModelConfig | None, Uses(PreferenceJudge)] = Field(
        default=None, description="Family `pickscore`."
    )


class PreferenceMetric(Metric[PreferenceConfig]):
    """How well people would like the picture for its caption (LayoutSAM-Eval: PickScore)."""

    name = "preference"
    measures = (
        Measure(
            name="preference", title="PickScore", unit="picture",
            meaning="PickScore of picture and caption, as the model gives it: about 15 to 25.",
        ),
    )  # fmt: skip

    judge: PreferenceJudge = loaded("model")

    def lacks(self, case: Case) -> str | None:
        return None if case.caption else "no caption"

    def __call__(self, seen: Sequence[Seen]) -> list[Values]:
        found = self.judge.judge_preference(
            [one.image for one in seen], [one.case.caption for one in seen]
        )
        return [{"preference": [one]} for one in found]

"""aesthetics: would people find the picture beautiful?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from imig.evaluation.case import Case
from imig.evaluation.look import Seen
from imig.evaluation.metrics.base import Measure, Metric, MetricConfig, Values
from imig.models.protocols import AestheticsJudge
from imig.recipe.parts import ModelConfig
from imig.stages.base import Uses, loaded


class AestheticsConfig(MetricConfig):
    """An aesthetic predictor."""

    model: Annotated[ModelConfig | None, Uses(AestheticsJudge)] = Field(
        default=None,
        description="Family `aesthetics`: a tower in `weights`, LAION's head in `config`.",
    )


class AestheticsMetric(Metric[AestheticsConfig]):
    """The mean opinion that a predictor expects (LAMICBench++: AES)."""

    name = "aesthetics"
    measures = (
        Measure(
            name="aesthetics", title="AES", unit="picture",
            meaning="Mean opinion that people would have of the picture, 1 (worst) to 10.",
        ),
    )  # fmt: skip

    judge: AestheticsJudge = loaded("model")

    def lacks(self, case: Case) -> str | None:
        return None

    def __call__(self, seen: Sequence[Seen]) -> list[Values]:
        opinions = self.judge.judge_aesthetics([one.image for one in seen])
        return [{"aesthetics": [one]} for one in opinions]

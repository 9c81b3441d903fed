"""The recipe of an evaluation: what is measured, and with which models.

A YAML file like a build's recipe. A block of a metric's name means that it is measured;
``--set clip=null`` leaves one out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model

from imig.evaluation.leakage import LeakageConfig
from imig.evaluation.look import LookConfig
from imig.evaluation.metrics import METRICS
from imig.evaluation.metrics.base import Metric
from imig.recipe.parts import RecipePart


class BootstrapConfig(RecipePart):
    """Intervals by drawing cases anew, with replacement."""

    samples: int = Field(default=2000, ge=100, le=100_000)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class _Head(RecipePart):
    """What a recipe says beside its metrics."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")
    seed: int = Field(default=0, ge=0, description="Of the bootstrap.")
    models: str | None = Field(
        default=None,
        description="Weights for every model of the recipe; `tiny` asks for no GPU, and applies "
        "the block `tiny`.",
    )
    tiny: dict[str, Any] = Field(
        default={},
        description="What `models: tiny` changes beside the weights: dotted keys and their values.",
    )
    look: LookConfig = LookConfig()
    bootstrap: BootstrapConfig = BootstrapConfig()
    leakage: LeakageConfig = LeakageConfig()


if TYPE_CHECKING:

    class EvaluationRecipe(_Head):
        """What `imig evaluate` measures, and with which models."""

        def __getattr__(self, name: str) -> Any:
            """A metric's block, by the metric's name; None where it is not measured."""

else:
    EvaluationRecipe = create_model(
        "EvaluationRecipe",
        __base__=_Head,
        __doc__="What `imig evaluate` measures, and with which models.",
        __module__=__name__,
        **{
            name: (metric.config_type() | None, Field(default=None, description=metric.__doc__))
            for name, metric in METRICS.items()
        },
    )


def metrics_of(recipe: EvaluationRecipe) -> Iterator[Metric[Any]]:
    """The metrics that a recipe names, not yet set up, in the order of reports."""
    for name, metric in METRICS.items():
        config = getattr(recipe, name)
        if config is not None:
            yield metric(config)

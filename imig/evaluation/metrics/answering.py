"""What metrics share that ask a vision-language model for yes or no."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, model_validator

from imig.evaluation.metrics.base import MetricConfig
from imig.models.protocols import PictureAnswerer
from imig.recipe.parts import EndpointConfig, ModelConfig
from imig.stages.base import Uses


class AnsweringConfig(MetricConfig):
    """A model that answers about pictures: on this machine, or behind a server."""

    endpoint: Annotated[EndpointConfig | None, Uses(PictureAnswerer)] = Field(
        default=None,
        description="A server. Of it model and temperature decide about what is kept of an earlier "
        "run; where it is and how it is asked does not.",
    )
    model: Annotated[ModelConfig | None, Uses(PictureAnswerer)] = Field(
        default=None, description="A family that answers about pictures, decoded greedily."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> AnsweringConfig:
        if self.endpoint is not None and self.model is not None:
            raise ValueError("give either an endpoint or a model, and null for the other")
        return self


def fill_prompt(template: str, **values: str) -> str:
    """A template's ``{name}`` replaced; braces within the values stay what they are."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), template)

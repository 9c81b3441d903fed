"""agree: whether references show what their phrases say, by a vision-language model's judgement."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from imig.models.protocols import PictureAnswerer
from imig.recipe.parts import (
    EndpointConfig,
    ModelConfig,
    StageConfig,
    require_endpoint_or_model,
)
from imig.sample import Sample, decode_image
from imig.schema import Agreement, Reference
from imig.stages.base import Stage, Uses, loaded

ASKED_KINDS = frozenset({"crop", "edit", "source"})
"""Kinds of references that are asked about: a face alone shows no phrase."""


class AgreeConfig(StageConfig):
    """A vision-language model says whether references and phrases agree."""

    endpoint: Annotated[EndpointConfig | None, Uses(PictureAnswerer)] = None
    model: Annotated[ModelConfig | None, Uses(PictureAnswerer)] = None
    question: str = Field(
        default='Does this picture show "{phrase}"?',
        pattern=r"\{phrase\}",
        description="The answer is yes or no with a reason.",
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> AgreeConfig:
        require_endpoint_or_model(self.endpoint, self.model)
        return self


class AgreeStage(Stage[AgreeConfig]):
    """Asks about every reference, and stores the answers; the filter decides what they mean."""

    name = "agree"
    reads = frozenset({"references"})

    answerer: PictureAnswerer = loaded("endpoint", "model")

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        asked = [
            (sample, instance.phrase, reference)
            for sample in samples
            for instance in sample.scene.instances
            for reference in instance.references
            if reference.kind in ASKED_KINDS
        ]
        answers = self.answerer.answer(
            [decode_image(sample.files[reference.image]) for sample, _, reference in asked],
            [self.config.question.replace("{phrase}", phrase) for _, phrase, _ in asked],
        )
        references: list[Reference] = [reference for _, _, reference in asked]
        for reference, answer in zip(references, answers, strict=True):
            reference.agreement = Agreement(
                agrees=answer.yes, reason=answer.reason, model=self.answerer.name
            )
        return samples

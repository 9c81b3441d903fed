"""agree: whether references show what their phrases say, by a vision-language model's judgement."""

from __future__ import annotations

from imig.models.endpoint import endpoint_record
from imig.models.protocols import PictureAnswerer
from imig.recipe import AgreeConfig
from imig.sample import Sample, decode_image
from imig.schema import Agreement, ModelRecord, Reference
from imig.stages.base import BuildContext, Stage
from imig.stages.loading import load_as, record_of

ASKED_KINDS = frozenset({"crop", "edit", "source"})
"""Kinds of references that are asked about: a face alone shows no phrase."""


class AgreeStage(Stage):
    """Asks about every reference, and stores the answers; the filter decides what they mean.

    Parameters
    ----------
    answerer:
        Used instead of the recipe's endpoint or model.
    """

    name = "agree"
    reads = frozenset({"references"})

    def __init__(
        self,
        config: AgreeConfig,
        context: BuildContext,
        *,
        answerer: PictureAnswerer | None = None,
    ) -> None:
        super().__init__(context)
        self.config = config
        self._answerer = answerer

    def setup(self) -> None:
        if self._answerer is not None:
            return
        if self.config.endpoint is not None:
            from imig.models.endpoint_answers import EndpointAnswerer

            workers = self.config.resources.concurrency
            self._answerer = EndpointAnswerer(
                self.config.endpoint, name="agree.endpoint", clients=workers
            )
            return
        assert self.config.model is not None  # the recipe has one of the two
        self._answerer = load_as(
            PictureAnswerer,
            self.config.model,
            self.config,
            key="agree.model",
            task="model that answers about pictures",
        )

    def models(self) -> list[ModelRecord]:
        if self.config.endpoint is not None:
            return [endpoint_record(self.config.endpoint)]
        assert self.config.model is not None
        return [record_of(self.config.model)]

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        assert self._answerer is not None, "setup() comes first"
        asked = [
            (sample, instance.phrase, reference)
            for sample in samples
            for instance in sample.scene.instances
            for reference in instance.references
            if reference.kind in ASKED_KINDS
        ]
        answers = self._answerer.answer(
            [decode_image(sample.files[reference.image]) for sample, _, reference in asked],
            [self.config.question.replace("{phrase}", phrase) for _, phrase, _ in asked],
        )
        references: list[Reference] = [reference for _, _, reference in asked]
        for reference, answer in zip(references, answers, strict=True):
            reference.agreement = Agreement(
                agrees=answer.yes, reason=answer.reason, model=self._answerer.name
            )
        return samples

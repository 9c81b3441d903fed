"""compose (flexible): the target composed of its references."""

from __future__ import annotations

from PIL import Image

from imig.models.protocols import ComposedReference, Composer, ComposeRequest, Origin
from imig.recipe import ComposeConfig
from imig.sample import (
    DrawnView,
    Sample,
    derive_seed,
    image_to_jpeg,
)
from imig.schema import ModelRecord
from imig.stages.base import BuildContext, Stage
from imig.stages.loading import generator_settings, load_as, record_of
from imig.stages.pixels import grey_out
from imig.stages.views import read_reference


class ComposeStage(Stage):
    """Draws the target from the views of the subjects and the scene's prompt.

    Turns down: "too few references".

    Parameters
    ----------
    composer:
        Used instead of the recipe's model, which is then never loaded.
    """

    name = "compose"
    reads = frozenset({"views"})
    writes = frozenset({"target"})

    def __init__(
        self, config: ComposeConfig, context: BuildContext, *, composer: Composer | None = None
    ) -> None:
        super().__init__(context)
        self.config = config
        self._composer = composer

    def setup(self) -> None:
        if self._composer is not None:
            return
        self._composer = load_as(
            Composer, self.config.model, self.config, key="compose.model", task="composing model"
        )

    def models(self) -> list[ModelRecord]:
        return [record_of(self.config.model)]

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        assert self._composer is not None, "setup() comes first"
        least = self.config.min_references
        for sample in samples:
            if len(sample.drawn) < least:
                sample.turn_down(
                    stage=self.name,
                    reason="too few references",
                    figures={
                        "references": len(sample.drawn),
                        "subjects": len(sample.scene.subjects),
                        "min_references": least,
                    },
                )
        asked = [sample for sample in samples if sample.reject is None]
        requests = [self._request(sample) for sample in asked]
        images = self._composer.compose(requests, settings=generator_settings(self.config.sampling))
        for sample, request, image in zip(asked, requests, images, strict=True):
            scene = sample.scene
            sample.files[scene.target] = image_to_jpeg(image)
            scene.width, scene.height = image.size
            scene.source.model = self._composer.name
            scene.source.seed = request.seed
        return samples

    def _request(self, sample: Sample) -> ComposeRequest:
        scene = sample.scene
        return ComposeRequest(
            references=tuple(self._reference(sample, view) for view in sample.drawn),
            prompt=self.config.instruction.replace("{prompt}", scene.caption),
            seed=derive_seed(scene.seed, self.name),
            width=self.config.width,
            height=self.config.height,
        )

    def _reference(self, sample: Sample, view: DrawnView) -> ComposedReference:
        drawing = view.reference.drawing
        assert drawing is not None, "views of kind `source` say how they were drawn"
        return ComposedReference(
            image=self._picture(sample, view),
            phrase=sample.scene.subjects[view.subject].phrase,
            origin=Origin(
                prompt=drawing.prompt, seed=drawing.seed, width=drawing.width, height=drawing.height
            ),
        )

    def _picture(self, sample: Sample, view: DrawnView) -> Image.Image:
        image, mask = read_reference(sample, view.reference)
        return image if self.config.background == "keep" or mask is None else grey_out(image, mask)

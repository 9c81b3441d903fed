"""compose (flexible): the target composed of its references."""

from __future__ import annotations

from typing import Annotated, Literal

from PIL import Image
from pydantic import Field

from imig.models.protocols import ComposedReference, Composer, ComposeRequest, Origin
from imig.recipe.parts import ModelConfig, StageConfig
from imig.sample import (
    DrawnView,
    Sample,
    derive_seed,
    image_to_jpeg,
)
from imig.stages.base import Stage, Uses, loaded
from imig.stages.generation import Sampling, generator_settings
from imig.stages.pixels import grey_out
from imig.stages.views import read_reference


class ComposeConfig(StageConfig):
    """The target composed of its references (flexible)."""

    model: Annotated[ModelConfig, Uses(Composer)] = ModelConfig(family="tabletop")
    width: int = Field(default=1024, ge=64, le=4096, multiple_of=16)
    height: int = Field(default=1024, ge=64, le=4096, multiple_of=16)
    background: Literal["grey", "keep"] = Field(
        default="keep", description="What the model sees of a reference beside the subject."
    )
    instruction: str = Field(
        default="{prompt}",
        pattern=r"\{prompt\}",
        description="How the prompt is put to the model.",
    )
    min_references: int = Field(
        default=2, ge=1, description="Fewer subjects with a reference: the scene is rejected."
    )
    sampling: Sampling = Sampling()


class ComposeStage(Stage[ComposeConfig]):
    """Draws the target from the views of the subjects and the scene's prompt.

    Turns down: "too few references".
    """

    name = "compose"
    reads = frozenset({"views"})
    writes = frozenset({"target"})

    composer: Composer = loaded("model")

    def __call__(self, samples: list[Sample]) -> list[Sample]:
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
        images = self.composer.compose(requests, settings=generator_settings(self.config.sampling))
        for sample, request, image in zip(asked, requests, images, strict=True):
            scene = sample.scene
            sample.files[scene.target] = image_to_jpeg(image)
            scene.width, scene.height = image.size
            scene.source.model = self.composer.name
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

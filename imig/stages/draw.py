"""draw: pictures from prompts: the target itself, or each subject alone."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from imig.models.protocols import Drawer, DrawRequest
from imig.recipe.parts import ModelConfig, StageConfig
from imig.sample import DrawnView, Sample, derive_seed, image_to_jpeg
from imig.schema import Drawing, Reference
from imig.stages.base import Stage, Uses, loaded
from imig.stages.generation import Sampling, generator_settings


class DrawConfig(StageConfig):
    """Pictures from prompts: the targets (basic, complex) or each subject alone (flexible)."""

    model: Annotated[ModelConfig, Uses(Drawer)] = ModelConfig(family="tabletop")
    width: int = Field(
        default=1024,
        ge=64,
        le=4096,
        multiple_of=16,
        description="Released pipeline: 1024 for targets, 768 for subjects alone.",
    )
    height: int = Field(default=1024, ge=64, le=4096, multiple_of=16)
    sampling: Sampling = Sampling()
    subject_template: str = Field(
        default="{prompt}",
        pattern=r"\{prompt\}",
        description="How the prompt of a subject alone is put to the model (flexible).",
    )


class DrawStage(Stage[DrawConfig]):
    """Basic and complex: the caption becomes the target. Flexible: every subject becomes a view."""

    name = "draw"

    drawer: Drawer = loaded("model")

    def prepare(self) -> None:
        alone = self.context.subset == "flexible"
        self.reads = frozenset({"subjects"} if alone else {"caption"})
        self.writes = frozenset({"drawn views"} if alone else {"target"})

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        if self.context.subset == "flexible":
            self._draw_subjects(samples)
        else:
            self._draw_targets(samples)
        return samples

    def _draw_targets(self, samples: list[Sample]) -> None:
        requests = [
            self._request(sample.scene.caption, derive_seed(sample.scene.seed, self.name))
            for sample in samples
        ]
        images = self.drawer.draw(requests, settings=generator_settings(self.config.sampling))
        for sample, request, image in zip(samples, requests, images, strict=True):
            scene = sample.scene
            sample.files[scene.target] = image_to_jpeg(image)
            scene.width, scene.height = image.size
            scene.source.model = self.drawer.name
            scene.source.seed = request.seed

    def _draw_subjects(self, samples: list[Sample]) -> None:
        numbered = [(one, i) for one in samples for i in range(len(one.scene.subjects))]
        requests = [
            self._request(
                self.config.subject_template.replace("{prompt}", sample.scene.subjects[i].prompt),
                derive_seed(sample.scene.seed, self.name, i),
            )
            for sample, i in numbered
        ]
        images = self.drawer.draw(requests, settings=generator_settings(self.config.sampling))
        for (sample, i), request, image in zip(numbered, requests, images, strict=True):
            name = f"ref{i:02d}"
            reference = Reference(
                name=name,
                kind="source",
                image=f"{name}.jpg",
                mask=None,  # until `reground` has found the subject
                width=image.width,
                height=image.height,
                subject_box=(0, 0, *image.size),
                drawing=Drawing(
                    prompt=request.prompt,
                    model=self.drawer.name,
                    seed=request.seed,
                    width=image.width,
                    height=image.height,
                ),
            )
            sample.files[reference.image] = image_to_jpeg(image)
            sample.drawn.append(DrawnView(subject=i, reference=reference))

    def _request(self, prompt: str, seed: int) -> DrawRequest:
        return DrawRequest(
            prompt=prompt, seed=seed, width=self.config.width, height=self.config.height
        )

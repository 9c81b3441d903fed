"""draw: pictures from prompts: the target itself, or each subject alone."""

from __future__ import annotations

from imig.models.protocols import Drawer, DrawRequest
from imig.recipe import DrawConfig
from imig.sample import DrawnView, Sample, derive_seed, image_to_jpeg
from imig.schema import Drawing, ModelRecord, Reference
from imig.stages.base import BuildContext, Stage
from imig.stages.loading import generator_settings, load_as, record_of


class DrawStage(Stage):
    """Basic and complex: the caption becomes the target. Flexible: every subject becomes a view.

    Parameters
    ----------
    drawer:
        Used instead of the recipe's model, which is then never loaded.
    """

    name = "draw"

    def __init__(
        self, config: DrawConfig, context: BuildContext, *, drawer: Drawer | None = None
    ) -> None:
        super().__init__(context)
        self.config = config
        self._drawer = drawer
        alone = context.subset == "flexible"
        self.reads = frozenset({"subjects"} if alone else {"caption"})
        self.writes = frozenset({"drawn views"} if alone else {"target"})

    def setup(self) -> None:
        if self._drawer is not None:
            return
        self._drawer = load_as(
            Drawer, self.config.model, self.config, key="draw.model", task="text-to-image model"
        )

    def models(self) -> list[ModelRecord]:
        return [record_of(self.config.model)]

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        if self.context.subset == "flexible":
            self._draw_subjects(samples)
        else:
            self._draw_targets(samples)
        return samples

    def _draw_targets(self, samples: list[Sample]) -> None:
        assert self._drawer is not None, "setup() comes first"
        requests = [
            self._request(sample.scene.caption, derive_seed(sample.scene.seed, self.name))
            for sample in samples
        ]
        images = self._drawer.draw(requests, settings=generator_settings(self.config.sampling))
        for sample, request, image in zip(samples, requests, images, strict=True):
            scene = sample.scene
            sample.files[scene.target] = image_to_jpeg(image)
            scene.width, scene.height = image.size
            scene.source.model = self._drawer.name
            scene.source.seed = request.seed

    def _draw_subjects(self, samples: list[Sample]) -> None:
        assert self._drawer is not None, "setup() comes first"
        numbered = [(one, i) for one in samples for i in range(len(one.scene.subjects))]
        requests = [
            self._request(
                self.config.subject_template.replace("{prompt}", sample.scene.subjects[i].prompt),
                derive_seed(sample.scene.seed, self.name, i),
            )
            for sample, i in numbered
        ]
        images = self._drawer.draw(requests, settings=generator_settings(self.config.sampling))
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
                    model=self._drawer.name,
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

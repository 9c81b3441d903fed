"""Family `flux`: FLUX.1 draws pictures from prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from PIL.Image import Image

from imig.models.batched import Batched, ResolvedWeights, Runtime
from imig.models.family import Checkpoint, Family
from imig.models.images import equal_batches
from imig.models.pipelines import check_sizes, generators, load_pipeline, sample
from imig.models.protocols import DrawRequest, GeneratorSettings

# Of the checkpoints that were distilled to few steps and take no guidance (schnell).
_FEW_STEPS: Final = 4
_SHORT_PROMPT: Final = 256
"""Text tokens at most, for the same checkpoints; the others read 512."""


class Flux(Batched):
    """A `Drawer`.

    Without settings: 28 steps at guidance 3.5; a distilled checkpoint (schnell) takes 4 steps, and
    guidance means nothing to it.
    """

    family: ClassVar[Family] = Family(
        name="flux",
        tasks=("draw pictures",),
        library="diffusers",
        layout="pipeline",
        pipelines=("FluxPipeline",),
        takes_offload=True,
        checkpoints=(
            Checkpoint("black-forest-labs/FLUX.1-dev", 33_700, "FLUX.1 [dev] non-commercial"),
            Checkpoint("black-forest-labs/FLUX.1-schnell", 33_700, "Apache-2.0"),
        ),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        super().__init__(weights, runtime)
        self._pipeline = load_pipeline(self.family, weights, runtime)
        self._distilled = not self._pipeline.transformer.config.guidance_embeds

    def draw(self, requests: Sequence[DrawRequest], *, settings: GeneratorSettings) -> list[Image]:
        """A picture of each prompt; see `imig.models.protocols.Drawer`."""
        check_sizes(self._pipeline, self._family, requests)
        pictures: dict[int, Image] = {}
        sizes = [(one.width, one.height) for one in requests]
        for batch in equal_batches(sizes, batch_size=self._batch_size):
            some = [requests[index] for index in batch]
            images = sample(
                self._pipeline,
                prompt=[one.prompt for one in some],
                width=some[0].width,
                height=some[0].height,
                generator=generators([one.seed for one in some]),
                **self._settings(settings),
            )
            pictures.update(zip(batch, images, strict=True))
        return [pictures[index] for index in range(len(requests))]

    def _settings(self, settings: GeneratorSettings) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        if self._distilled:
            chosen = {"num_inference_steps": _FEW_STEPS, "max_sequence_length": _SHORT_PROMPT}
        if settings.steps is not None:
            chosen["num_inference_steps"] = settings.steps
        if settings.guidance is not None:
            chosen["guidance_scale"] = settings.guidance
        return chosen

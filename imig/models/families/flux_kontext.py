"""Family `flux-kontext`: FLUX.1 Kontext changes a picture as an instruction says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from PIL.Image import Image, Resampling

from imig.models.batched import Batched, ResolvedWeights, Runtime
from imig.models.family import Checkpoint, Family
from imig.models.images import as_rgb, equal_batches
from imig.models.pipelines import check_sizes, generators, load_pipeline, sample
from imig.models.protocols import EditRequest, GeneratorSettings

_STEP: Final = 16
"""Sides of pictures are multiples of it."""


class FluxKontext(Batched):
    """An `Editor`. Without settings: 28 steps at guidance 3.5, the pipeline's own (the model's
    card recommends 2.5)."""

    family: ClassVar[Family] = Family(
        name="flux-kontext",
        tasks=("edit pictures",),
        library="diffusers",
        layout="pipeline",
        pipelines=("FluxKontextPipeline",),
        takes_offload=True,
        checkpoints=(
            Checkpoint(
                "black-forest-labs/FLUX.1-Kontext-dev", 33_700, "FLUX.1 [dev] non-commercial"
            ),
        ),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        super().__init__(weights, runtime)
        self._pipeline = load_pipeline(self.family, weights, runtime)

    def edit(self, requests: Sequence[EditRequest], *, settings: GeneratorSettings) -> list[Image]:
        """A changed picture a request; see `imig.models.protocols.Editor`."""
        check_sizes(self._pipeline, self._family, requests)
        chosen: dict[str, Any] = {}
        if settings.steps is not None:
            chosen["num_inference_steps"] = settings.steps
        if settings.guidance is not None:
            chosen["guidance_scale"] = settings.guidance
        seen = [
            picture.resize(seen_size(picture.size, (one.width, one.height)), Resampling.LANCZOS)
            for picture, one in zip(as_rgb([one.image for one in requests]), requests, strict=True)
        ]
        pictures: dict[int, Image] = {}
        keys = [
            (one.width, one.height, picture.size)
            for one, picture in zip(requests, seen, strict=True)
        ]
        for batch in equal_batches(keys, batch_size=self._batch_size):
            some = [requests[index] for index in batch]
            width, height = some[0].width, some[0].height
            images = sample(
                self._pipeline,
                image=[seen[index] for index in batch],
                prompt=[one.instruction for one in some],
                width=width,
                height=height,
                # The pipeline scales the answer to this area, and the picture to one of 17 sizes.
                max_area=width * height,
                _auto_resize=False,
                generator=generators([one.seed for one in some]),
                **chosen,
            )
            pictures.update(zip(batch, images, strict=True))
        return [pictures[index] for index in range(len(requests))]


def seen_size(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """At which size (width, height) the model sees a picture whose answer has the size `wanted`.

    The same, where the proportions agree within a rounding of the sides to multiples of 16: then a
    place in the picture is the same place in the answer. Else as many pixels as the answer has, in
    the picture's own proportions: nothing is squeezed.
    """
    area, aspect = wanted[0] * wanted[1], size[0] / size[1]
    width = max(_STEP, round(math.sqrt(area * aspect) / _STEP) * _STEP)
    height = max(_STEP, round(math.sqrt(area / aspect) / _STEP) * _STEP)
    if abs(width - wanted[0]) <= _STEP and abs(height - wanted[1]) <= _STEP:
        return wanted
    return width, height

"""Models whose memory is too small, as torch says it: on a CPU, where torch itself never would."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import torch
from PIL.Image import Image

from imig.models.batched import Batched, ResolvedWeights, Runtime
from imig.models.family import Family
from imig.sample import Sample
from support.engine_stages import Judge


def out_of_memory() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.52 GiB "
        "of which 1.12 GiB is free. If reserved but unallocated memory is large try setting "
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
    )


class HungryCaptioner(Batched):
    """A `Captioner`, whose weight file says how many pictures fit; captions name their batch."""

    family: ClassVar[Family] = Family(
        name="hungry", tasks=("caption",), weight_files=("fits.txt",), takes_file=True
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        super().__init__(weights, runtime)
        self._fits = int(weights.files[0].read_text())
        if not self._fits:
            raise out_of_memory()

    def caption(self, images: Sequence[Image]) -> list[str]:
        captions = []
        for start in range(0, len(images), self._batch_size):
            batch = images[start : start + self._batch_size]
            if len(batch) > self._fits:
                raise out_of_memory()
            captions += [f"a dog in one of {len(batch)} pictures"] * len(batch)
        return captions


class Resized:
    """A model that only knows how many pictures it may see at once."""

    name = "resized"

    def __init__(self) -> None:
        self.batch_size = 0

    def with_batch_size(self, batch_size: int) -> Self:
        twin = copy.copy(self)
        twin.batch_size = batch_size
        return twin


class Hungry(Judge):
    """A `Judge`, in whose captions the bytes tell the batches, with a memory of so many units.

    A scene takes one unit, those of `appetites` (by number) as many as stand there.
    """

    def __init__(
        self, memory: int, appetites: Mapping[int, int] | None = None, raise_on: Sequence[int] = ()
    ) -> None:
        super().__init__(raise_on=raise_on)
        self.loaded["model"] = Resized()
        self.batches: list[list[int]] = []
        self._memory = memory
        self._appetites = dict(appetites or {})

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        numbers = [int(one.scene.id.rpartition("-")[2]) for one in samples]
        self.batches.append(numbers)
        assert len(samples) <= self.loaded["model"].batch_size
        if sum(self._appetites.get(number, 1) for number in numbers) > self._memory:
            super().__call__(samples[:1])  # half of the work is done when memory runs out
            raise out_of_memory()
        return super().__call__(samples)

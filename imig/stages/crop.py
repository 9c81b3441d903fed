"""crop: each instance cut out of the target with a margin, and its mask: its first reference."""

from __future__ import annotations

from collections import Counter

from PIL import Image
from pydantic import Field

from imig.layout.masks import mask_to_box, rle_to_mask
from imig.recipe.parts import Fraction, StageConfig
from imig.sample import Sample, image_to_jpeg, mask_to_png
from imig.schema import Instance, Reference
from imig.stages.base import Stage
from imig.stages.instances import keep_instances
from imig.stages.pixels import crop_mask, grow_box, sharpness


class CropConfig(StageConfig):
    """Identity crops: the instance cut out of the target with a margin, and its mask."""

    margin: Fraction = Field(default=0.05, description="Added on each side, share of the box.")
    min_side: int = Field(default=24, gt=0, description="Pixels; smaller instances are dropped.")
    max_aspect: float = Field(default=5.0, ge=1, description="Longer side over shorter side.")
    min_sharpness: float = Field(
        default=0.0, ge=0, description="Variance of the Laplacian; blurrier ones are dropped."
    )


class CropStage(Stage[CropConfig]):
    """Writes a reference of kind `crop` per instance; drops instances outside the limits.

    Turns down: "no usable crop", with the number of instances that each limit dropped.
    """

    name = "crop"
    reads = frozenset({"target", "boxes", "masks"})
    writes = frozenset({"references"})

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        for sample in samples:
            self._crop(sample)
        return samples

    def _crop(self, sample: Sample) -> None:
        target = sample.target()
        dropped: Counter[str] = Counter()
        kept: list[int] = []
        for instance in sample.scene.instances:
            instance.scores.sharpness = _sharpness(target, instance)
            cause = self._fault(instance)
            if cause:
                dropped[cause] += 1
            else:
                kept.append(instance.index)
        keep_instances(sample, kept)
        if not kept:
            sample.turn_down(stage=self.name, reason="no usable crop", figures=dict(dropped))
        for instance in sample.scene.instances:
            instance.references = []
            name = f"ref{instance.index:02d}"
            add_crop(sample, instance, target, name=name, margin=self.config.margin)

    def _fault(self, instance: Instance) -> str:
        """Which limit the instance breaks, "" when none."""
        x1, y1, x2, y2 = instance.box
        shorter, longer = sorted((x2 - x1, y2 - y1))
        if instance.mask is None:
            return "without_mask"
        if shorter < self.config.min_side:
            return "too_small"
        if longer > self.config.max_aspect * shorter:
            return "too_elongated"
        if (instance.scores.sharpness or 0.0) < self.config.min_sharpness:
            return "too_blurry"
        return ""


def add_crop(
    sample: Sample, instance: Instance, target: Image.Image, *, name: str, margin: float
) -> None:
    """Cut a segmented instance out of the target: its last reference, of kind `crop`.

    `name` is the reference's (``ref00``), `margin` the share of the box that is added on each side.
    """
    assert instance.mask is not None
    box = grow_box(instance.box, margin=margin, width=target.width, height=target.height)
    mask = crop_mask(rle_to_mask(instance.mask), box)
    subject_box = mask_to_box(mask)
    assert subject_box is not None, "boxes hold masks, and masks are not empty"
    reference = Reference(
        name=name,
        kind="crop",
        image=f"{name}.jpg",
        mask=f"{name}.mask.png",
        width=box[2] - box[0],
        height=box[3] - box[1],
        subject_box=subject_box,
        crop_box=box,
    )
    sample.files[reference.image] = image_to_jpeg(target.crop(box))
    sample.files[f"{name}.mask.png"] = mask_to_png(mask)
    instance.references.append(reference)


def _sharpness(target: Image.Image, instance: Instance) -> float | None:
    """Of the instance's pixels only; None without a mask."""
    if instance.mask is None:
        return None
    mask = crop_mask(rle_to_mask(instance.mask), instance.box)
    return sharpness(target.crop(instance.box), mask)

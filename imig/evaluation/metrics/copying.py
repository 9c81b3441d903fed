"""copying: is a subject drawn anew, or is its reference pasted in?

Identity wants a subject to be like its reference; a model that pastes the reference gets more of it
than the true picture has, and draws the wrong pose and light. So likeness is set against that of
the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as images
from PIL.Image import Image
from scipy.ndimage import gaussian_filter

from imig.evaluation.case import Case, Mask
from imig.evaluation.look import Seen
from imig.evaluation.metrics.base import Measure, Metric, MetricConfig, Values
from imig.evaluation.metrics.identity import cut_out_found
from imig.layout.masks import mask_to_box
from imig.models.protocols import ImageEmbedder
from imig.recipe.parts import ModelConfig
from imig.stages.base import Uses, loaded

SIDE: Final = 64
"""Pixels to which subjects are scaled before they are compared."""
_SIGMA = 1.5
"""Of the window of SSIM, in pixels (Wang et al. 2004)."""
_C1, _C2 = 0.01**2, 0.03**2
"""SSIM's constants for brightness in 0..1 (Wang et al. 2004)."""
_NO_ANGLE = 1e-3
"""Radians; a truth that is its own reference says nothing about copying."""

Cutout = tuple[Image, Mask | None]


class CopyingConfig(MetricConfig):
    """Likeness to the reference, beyond that of the true picture."""

    model: Annotated[ModelConfig, Uses(ImageEmbedder)] = ModelConfig(family="dinov2")


class CopyingMetric(Metric[CopyingConfig]):
    """Angles between DINO features, and pixels, of result, reference and truth."""

    name = "copying"
    looks = True
    measures = (
        Measure(
            name="copying", title="copying", unit="instance", better="lower",
            meaning="(angle to the truth - angle to the reference) / angle between these two, of "
            "DINO features: 1 is the reference itself, -1 the truth, 0 as far from both.",
        ),
        Measure(
            name="pixel_likeness", title="pixels", unit="instance", better="neither", percent=True,
            meaning="Structural similarity of a subject found and its reference, both scaled to "
            "their outlines, times the IoU of these outlines: 1 is a copy.",
        ),
        Measure(
            name="pixel_copying", title="pixels beyond the truth", unit="instance",
            better="lower", percent=True,
            meaning="The same, less what the subject in the true picture has of it.",
        ),
    )  # fmt: skip

    embedder: ImageEmbedder = loaded("model")

    def lacks(self, case: Case) -> str | None:
        return None if any(one.references for one in case.instances) else "no references"

    def __call__(self, seen: Sequence[Seen]) -> list[Values]:
        return [self._measure(one) for one in seen]

    def _measure(self, seen: Seen) -> Values:
        values: dict[str, list[float | None]] = {
            one.name: [None] * len(seen.case.instances) for one in self.measures
        }
        for number, instance in enumerate(seen.case.instances):
            if seen.found[number] is None or not instance.references:
                continue
            drawn = cut_out_found(seen, number)
            given = instance.references[0].read()
            likeness = pixel_likeness(drawn, given)
            values["pixel_likeness"][number] = likeness
            if instance.read_truth is None:
                continue
            truth = instance.read_truth()
            values["pixel_copying"][number] = likeness - pixel_likeness(truth, given)
            features = self.embedder.embed(
                [one for one, _ in (drawn, given, truth)],
                [mask for _, mask in (drawn, given, truth)],
            )
            values["copying"][number] = copying(*features)
        return values


def copying(
    drawn: NDArray[np.float32], given: NDArray[np.float32], truth: NDArray[np.float32]
) -> float | None:
    """(angle(drawn, truth) - angle(drawn, given)) / angle(truth, given), in [-1, 1].

    The copy-paste metric of WithAnyone (MultiID-Bench) with features of one's own choice; None
    where truth and reference are the same, so that nothing can be told.

    Parameters
    ----------
    drawn, given, truth:
        (dimensions,), L2-normalised.
    """
    between = _angle(truth, given)
    if between < _NO_ANGLE:
        return None
    return (_angle(drawn, truth) - _angle(drawn, given)) / between


def _angle(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.arccos(np.clip(one.astype(np.float64) @ other.astype(np.float64), -1, 1)))


def pixel_likeness(one: Cutout, other: Cutout) -> float:
    """SSIM of two subjects in their common outline, times the IoU of the outlines: 0 to 1.

    Both are stretched from the bounding box of their mask to 64 x 64 pixels, so that neither size
    nor place counts, but pose, light and pixels do.
    """
    (first, first_mask), (second, second_mask) = _to_square(*one), _to_square(*other)
    common, either = first_mask & second_mask, first_mask | second_mask
    if not common.any():
        return 0.0
    similarity = _structural_similarity(first, second)[common].mean()
    return float(max(similarity, 0.0) * np.count_nonzero(common) / np.count_nonzero(either))


def _to_square(image: Image, mask: Mask | None) -> tuple[NDArray[np.float64], Mask]:
    """Brightness in 0..1 and mask of a subject, each (64, 64)."""
    if mask is None or not mask.any():
        mask = np.ones((image.height, image.width), dtype=np.bool_)
    box = mask_to_box(mask)
    assert box is not None
    grey = image.convert("L").resize((SIDE, SIDE), images.Resampling.LANCZOS, box=box)
    outline = images.fromarray(mask.view(np.uint8) * np.uint8(255)).resize(
        (SIDE, SIDE), images.Resampling.LANCZOS, box=box
    )
    return np.asarray(grey, dtype=np.float64) / 255, np.asarray(outline) > 127


def _structural_similarity(
    one: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.float64]:
    """SSIM at every pixel (Wang et al. 2004, equation 13), with Gaussian windows."""

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        blurred: NDArray[np.float64] = gaussian_filter(values, _SIGMA)
        return blurred

    first, second = mean(one), mean(other)
    first_variance = mean(one * one) - first**2
    second_variance = mean(other * other) - second**2
    covariance = mean(one * other) - first * second
    brightness = (2 * first * second + _C1) / (first**2 + second**2 + _C1)
    structure = (2 * covariance + _C2) / (first_variance + second_variance + _C2)
    return brightness * structure

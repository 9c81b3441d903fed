"""clip: does the picture, and each part of it, look like its text?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from imig.evaluation.case import Case
from imig.evaluation.look import Seen
from imig.evaluation.metrics.base import Measure, Metric, MetricConfig, Values
from imig.layout.placement import Rectangle
from imig.models.libraries import open_clip
from imig.models.protocols import ImageTextScorer
from imig.recipe.parts import ModelConfig
from imig.stages.base import Uses, loaded

LOCAL_SIDE = 512
"""Cut-outs are stretched to this square, as COCO-MIG's evaluator does, before CLIP scales them."""

Templates = Literal["none", "imagenet-80"]


class ClipConfig(MetricConfig):
    """CLIP cosines. Those of different checkpoints cannot be compared."""

    model: Annotated[ModelConfig, Uses(ImageTextScorer)] = ModelConfig(family="open-clip")
    templates: Templates = Field(
        default="none",
        description='Around the phrases of instances. none: the phrase itself, "striped red mug"; '
        "imagenet-80: the mean over the 80 sentences that CLIP's authors wrote for ImageNet (\"a "
        'bad photo of a {}.", ...), as COCO-MIG has it. Captions stay as they are.',
    )
    bgr_quirk: bool = Field(
        default=False,
        description="Show CLIP every picture with red and blue exchanged, as COCO-MIG's evaluator "
        "does (it reads with OpenCV, and does not turn the channels): needed for its figures, "
        "wrong for all else.",
    )


class ClipMetric(Metric[ClipConfig]):
    """CLIP cosine of the picture with its caption, and of each wanted box with its phrase."""

    name = "clip"
    measures = (
        Measure(
            name="clip_global", title="global CLIP", unit="picture", percent=True,
            meaning="CLIP cosine of the picture with its caption.",
        ),
        Measure(
            name="clip_local", title="local CLIP", unit="instance", percent=True,
            meaning="CLIP cosine of what is in an instance's wanted box with its phrase.",
        ),
    )  # fmt: skip

    scorer: ImageTextScorer = loaded("model")

    def setup(self) -> None:
        super().setup()
        self._texts: dict[str, NDArray[np.float32]] = {}

    def lacks(self, case: Case) -> str | None:
        return None if case.caption or any(one.box for one in case.instances) else "no texts"

    def __call__(self, seen: Sequence[Seen]) -> list[Values]:
        return [
            {"clip_global": [self._of_picture(one)], "clip_local": self._of_boxes(one)}
            for one in seen
        ]

    def _of_picture(self, seen: Seen) -> float | None:
        if not seen.case.caption:
            return None
        image = self._embed([seen.image])[0]
        return float(image @ self.scorer.embed_texts([seen.case.caption])[0])

    def _of_boxes(self, seen: Seen) -> list[float | None]:
        values: list[float | None] = [None] * len(seen.case.instances)
        cuts = {
            number: cut
            for number, one in enumerate(seen.case.instances)
            if one.box is not None and (cut := cut_box(seen.image, one.box)) is not None
        }
        if cuts:
            for number, image in zip(cuts, self._embed(list(cuts.values())), strict=True):
                values[number] = float(image @ self._text(seen.case.instances[number].phrase))
        return values

    def _embed(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        if self.config.bgr_quirk:
            images = [Image.merge("RGB", one.split()[::-1]) for one in images]
        return self.scorer.embed_images(images)

    def _text(self, phrase: str) -> NDArray[np.float32]:
        """What a cut-out is compared with: the mean of cosines is the cosine with the mean."""
        if phrase not in self._texts:
            texts = fill_templates(phrase, self.config.templates)
            self._texts[phrase] = self.scorer.embed_texts(texts).mean(axis=0)
        return self._texts[phrase]


def fill_templates(phrase: str, templates: Templates) -> list[str]:
    """The sentences that stand for a phrase."""
    if templates == "none":
        return [phrase]
    return [fill(phrase) for fill in open_clip.OPENAI_IMAGENET_TEMPLATES]


def cut_box(image: Image.Image, box: Rectangle) -> Image.Image | None:
    """What is in a box, its corners cut to whole pixels, as a square; None where that is nothing.

    Local CLIP of COCO-MIG: a thin box is stretched, so that CLIP's centre crop loses none of it.
    """
    x1, y1, x2, y2 = map(int, box)
    x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, image.width), min(y2, image.height)
    if x1 >= x2 or y1 >= y2:
        return None
    cut = image.crop((x1, y1, x2, y2))
    return cut.resize((LOCAL_SIDE, LOCAL_SIDE), Image.Resampling.BILINEAR)

"""quality: figures of the target as a picture, for the filter and for the search of duplicates."""

from __future__ import annotations

from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from imig.duplicates.perceptual_hash import perceptual_hash
from imig.models.protocols import AestheticsJudge, ImageTextScorer, PreferenceJudge
from imig.recipe.parts import ModelConfig, StageConfig
from imig.sample import Sample
from imig.shards.features import FEATURES_MEMBER, features_to_bytes
from imig.stages.base import Stage, Uses, loaded
from imig.stages.pixels import sharpness
from imig.stages.target_features import target_features

DECIMALS: Final = 4


class QualityConfig(StageConfig):
    """Figures of the picture itself: aesthetics, preference, hash, watermark."""

    aesthetics: Annotated[ModelConfig | None, Uses(AestheticsJudge)] = Field(
        default=None,
        description="family `aesthetics`: a folder with an open_clip tower (`weights`) and a head "
        "file (`config`).",
    )
    preference: Annotated[ModelConfig | None, Uses(PreferenceJudge)] = Field(
        default=None, description="family `pickscore`: how well people would like the target for "
        "its caption.",
    )  # fmt: skip
    watermark: Annotated[ModelConfig | None, Uses(ImageTextScorer)] = Field(
        default=None,
        description="family `open-clip`: a hint whether the target bears text or a watermark.",
    )
    perceptual_hash: bool = Field(default=True, description="Needed to find duplicates.")
    features: Annotated[ModelConfig | None, Uses(ImageTextScorer)] = Field(
        default=None,
        description="family `open-clip`: the target's feature, stored to find duplicates.",
    )


class QualityStage(Stage[QualityConfig]):
    """Aesthetics, preference, watermark, perceptual hash, sharpness, and the target's feature.

    Models that the recipe leaves null are not loaded; their figures stay null. Preference needs a
    caption. Never turns a scene down.
    """

    name = "quality"
    reads = frozenset({"target"})

    aesthetics: AestheticsJudge | None = loaded("aesthetics", optional=True)
    preference: PreferenceJudge | None = loaded("preference", optional=True)
    watermark: ImageTextScorer | None = loaded("watermark", optional=True)
    features: ImageTextScorer | None = loaded("features", optional=True)

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        config = self.config
        targets = [sample.target() for sample in samples]
        for sample, target in zip(samples, targets, strict=True):
            scores = sample.scene.scores
            if scores.sharpness is None:
                scores.sharpness = sharpness(target)
            if config.perceptual_hash:
                scores.perceptual_hash = perceptual_hash(target)
        if self.aesthetics is not None:
            opinions = self.aesthetics.judge_aesthetics(targets)
            for sample, opinion in zip(samples, opinions, strict=True):
                sample.scene.scores.aesthetics = round(opinion, DECIMALS)
        if self.preference is not None:
            _score_preference(self.preference, samples, targets)
        if self.watermark is not None:
            seen = target_features(samples, targets, model=self.watermark, key=config.watermark)
            hints = watermark_hints(self.watermark, seen)
            for sample, hint in zip(samples, hints, strict=True):
                sample.scene.scores.watermark = hint
        if self.features is not None:
            features = target_features(samples, targets, model=self.features, key=config.features)
            for sample, feature in zip(samples, features, strict=True):
                sample.files[FEATURES_MEMBER] = features_to_bytes(feature)
        return samples


def _score_preference(
    model: PreferenceJudge, samples: list[Sample], targets: list[Image.Image]
) -> None:
    captioned = [i for i, sample in enumerate(samples) if sample.scene.caption]
    if not captioned:
        return
    values = model.judge_preference(
        [targets[i] for i in captioned], [samples[i].scene.caption for i in captioned]
    )
    for i, value in zip(captioned, values, strict=True):
        samples[i].scene.scores.preference = round(value, DECIMALS)


MARKED: Final = (
    "a picture with a watermark over it",
    "a stock photo with a watermark",
    "a picture with text written over it",
    "a picture with a logo in the corner",
)
CLEAN: Final = (
    "a picture",
    "a clean picture without any text",
    "a photo of things",
    "a picture without a watermark",
)
"""Wordings between which the watermark's hint decides (our choice)."""

SHARPENING: Final = 100.0
"""Cosines times this are the logits: the largest scale that CLIP may learn, and has learned."""


def watermark_hints(model: ImageTextScorer, features: NDArray[np.float32]) -> list[float]:
    """For each picture the share of `MARKED` in the softmax over all wordings, in [0, 1].

    A hint and no detector: CLIP sees letters on signs and covers too.

    Parameters
    ----------
    features:
        (n, dimensions) of the pictures, by the same model, L2-normalised.
    """
    cosines: NDArray[np.float32] = features @ model.embed_texts([*MARKED, *CLEAN]).T
    logits = SHARPENING * (cosines - cosines.max(axis=1, keepdims=True))
    weights = np.exp(logits)
    marked = weights[:, : len(MARKED)].sum(axis=1) / weights.sum(axis=1)
    return [round(min(max(float(share), 0.0), 1.0), DECIMALS) for share in marked]

"""quality: figures of the target as a picture, for the filter and for the search of duplicates."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.duplicates.perceptual_hash import perceptual_hash
from imig.models.protocols import AestheticsJudge, ImageTextScorer, PreferenceJudge
from imig.recipe import ModelConfig, QualityConfig
from imig.sample import Sample
from imig.schema import ModelRecord
from imig.shards.features import FEATURES_MEMBER, features_to_bytes
from imig.stages.base import BuildContext, Stage
from imig.stages.loading import load_as, record_of
from imig.stages.pixels import sharpness
from imig.stages.target_features import target_features

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

DECIMALS: Final = 4


class QualityStage(Stage):
    """Aesthetics, preference, watermark, perceptual hash, sharpness, and the target's feature.

    Models that the recipe leaves null are not loaded; their figures stay null. Preference needs a
    caption. Never turns a scene down.

    Parameters
    ----------
    aesthetics, preference, watermark, features:
        Used instead of the recipe's models, which are then never loaded.
    """

    name = "quality"
    reads = frozenset({"target"})

    def __init__(
        self,
        config: QualityConfig,
        context: BuildContext,
        *,
        aesthetics: AestheticsJudge | None = None,
        preference: PreferenceJudge | None = None,
        watermark: ImageTextScorer | None = None,
        features: ImageTextScorer | None = None,
    ) -> None:
        super().__init__(context)
        self.config = config
        self._aesthetics = aesthetics
        self._preference = preference
        self._watermark = watermark
        self._features = features

    def setup(self) -> None:
        config = self.config
        if self._aesthetics is None and config.aesthetics is not None:
            self._aesthetics = load_as(
                AestheticsJudge,
                config.aesthetics,
                config,
                key="quality.aesthetics",
                task="judge of pictures",
            )
        if self._preference is None and config.preference is not None:
            self._preference = load_as(
                PreferenceJudge,
                config.preference,
                config,
                key="quality.preference",
                task="judge of pictures and captions",
            )
        if self._watermark is None and config.watermark is not None:
            self._watermark = self._load_scorer(config.watermark, key="quality.watermark")
        if self._features is None and config.features is not None:
            self._features = self._load_scorer(config.features, key="quality.features")

    def models(self) -> list[ModelRecord]:
        config = self.config
        configs = (config.aesthetics, config.preference, config.watermark, config.features)
        return [record_of(one) for one in configs if one is not None]

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        config = self.config
        targets = [sample.target() for sample in samples]
        for sample, target in zip(samples, targets, strict=True):
            scores = sample.scene.scores
            if scores.sharpness is None:
                scores.sharpness = sharpness(target)
            if config.perceptual_hash:
                scores.perceptual_hash = perceptual_hash(target)
        if self._aesthetics is not None:
            opinions = self._aesthetics.judge_aesthetics(targets)
            for sample, opinion in zip(samples, opinions, strict=True):
                sample.scene.scores.aesthetics = round(opinion, DECIMALS)
        if self._preference is not None:
            _score_preference(self._preference, samples, targets)
        if self._watermark is not None:
            seen = target_features(samples, targets, model=self._watermark, key=config.watermark)
            hints = watermark_hints(self._watermark, seen)
            for sample, hint in zip(samples, hints, strict=True):
                sample.scene.scores.watermark = hint
        if self._features is not None:
            features = target_features(samples, targets, model=self._features, key=config.features)
            for sample, feature in zip(samples, features, strict=True):
                sample.files[FEATURES_MEMBER] = features_to_bytes(feature)
        return samples

    def _load_scorer(self, config: ModelConfig, *, key: str) -> ImageTextScorer:
        scorer: ImageTextScorer = load_as(
            ImageTextScorer, config, self.config, key=key, task="image-text scorer"
        )
        return scorer


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

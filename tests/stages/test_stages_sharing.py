"""Stages that name the same model share it, and what it has seen of a target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL.Image import Image
from support.model_doubles import ColourScorer, MeanColourEmbedder
from support.tabletop_samples import tabletop_sample

from imig.models.protocols import ImageTextScorer
from imig.models.registry import load_model
from imig.recipe.parts import ModelConfig
from imig.shards.features import FEATURES_MEMBER
from imig.stages.base import BuildContext
from imig.stages.loading import load_as, shared_models
from imig.stages.quality import QualityConfig, QualityStage
from imig.stages.score import ScoreConfig, ScoreStage

CONTEXT = BuildContext(recipe_seed=0, subset="basic")
TINY = ModelConfig(family="open-clip", device="cpu")


class CountingScorer(ColourScorer):
    """Notes how many pictures each call showed it."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def embed_images(self, images: Sequence[Image]) -> Any:
        self.calls.append(len(images))
        return super().embed_images(images)


def load(config: ModelConfig, *, batch_size: int) -> Any:
    return load_as(ImageTextScorer, config, key="x.model", batch_size=batch_size)


def test_one_instance_for_stages_that_name_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[ModelConfig] = []

    def load_counted(config: ModelConfig, *, batch_size: int) -> Any:
        loaded.append(config)
        return load_model(config, batch_size=batch_size)

    monkeypatch.setattr("imig.models.registry.load_model", load_counted)
    with shared_models():
        wide, narrow = load(TINY, batch_size=8), load(TINY, batch_size=2)
        load(TINY.model_copy(update={"dtype": "bfloat16"}), batch_size=8)
    assert loaded == [TINY, TINY.model_copy(update={"dtype": "bfloat16"})]
    assert wide._model is narrow._model
    assert (wide._batch_size, narrow._batch_size) == (8, 2)
    load(TINY, batch_size=8)
    assert len(loaded) == 3, "outside of the block nothing is shared"


@pytest.mark.parametrize("scored_first", [True, False])
def test_quality_shows_no_target_to_a_model_that_score_has_shown_it_to(scored_first: bool) -> None:
    scorer = CountingScorer()
    samples = [tabletop_sample(number) for number in (0, 1)]
    score = ScoreStage(
        ScoreConfig(text_model=TINY),
        CONTEXT,
        models={"text_model": scorer, "image_model": MeanColourEmbedder()},
    )
    quality = QualityStage(
        QualityConfig(features=TINY, watermark=TINY),
        CONTEXT,
        models={"features": scorer, "watermark": scorer},
    )
    if scored_first:
        score(samples)
        before = len(scorer.calls)
        quality(samples)
        assert len(scorer.calls) == before
    else:
        quality(samples)
        assert scorer.calls == [2], "the watermark's hint and the feature come from one pass"
    features = [sample.files[FEATURES_MEMBER] for sample in samples]
    alone = [tabletop_sample(number) for number in (0, 1)]
    QualityStage(QualityConfig(features=TINY), CONTEXT, models={"features": ColourScorer()})(alone)
    assert features == [sample.files[FEATURES_MEMBER] for sample in alone]


def test_another_model_looks_itself() -> None:
    scorer = CountingScorer()
    samples = [tabletop_sample(0)]
    ScoreStage(
        ScoreConfig(text_model=None, image_model=None), CONTEXT, models={"text_model": scorer}
    )(samples)
    before = len(scorer.calls)
    QualityStage(QualityConfig(features=TINY), CONTEXT, models={"features": scorer})(samples)
    assert scorer.calls[before:] == [1]


def test_a_text_s_feature_does_not_depend_on_what_was_asked_before() -> None:
    texts = ["a red cube", "a ball", "a striped blue cone beside a small yellow duck"]
    together = load_model(TINY, batch_size=8)
    assert isinstance(together, ImageTextScorer)
    first = together.embed_texts(texts)
    for text, feature in zip(texts, first, strict=True):
        fresh = load_model(TINY, batch_size=3)
        assert isinstance(fresh, ImageTextScorer)
        assert np.array_equal(fresh.embed_texts([text])[0], feature)
    assert np.array_equal(together.embed_texts(texts[::-1]), first[::-1])
    assert together.embed_texts([]).shape == (0, first.shape[1])


def test_a_snapshot_is_untouched_by_what_happens_to_the_sample() -> None:
    sample = tabletop_sample(0)
    sample.target_features[TINY] = np.zeros(2, np.float32)
    before = sample.scene.model_dump_json()
    files = dict(sample.files)
    restore = sample.snapshot()
    sample.scene.instances[0].scores.phrase_similarity = 0.125
    sample.scene.nouns.append("late")
    sample.files["late.jpg"] = b""
    sample.target_features.clear()
    sample.turn_down(stage="x", reason="y", figures={})
    for _ in range(2):
        restored = restore()
        assert restored.scene.model_dump_json() == before
        assert restored.files == files
        assert restored.reject is None
        assert set(restored.target_features) == {TINY}
        restored.scene.nouns.append("later")
        restored.files.clear()

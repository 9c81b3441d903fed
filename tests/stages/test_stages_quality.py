"""Figures of the picture: stand-ins for the logic, then the tiny open_clip for the plumbing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL.Image import Image
from support.model_doubles import MeanColourEmbedder, digest
from support.scene_checks import check_sample
from support.tabletop_samples import tabletop_sample

from imig.checks.pictures import Findings
from imig.duplicates.perceptual_hash import perceptual_hash
from imig.errors import UsageError
from imig.recipe.parts import ModelConfig
from imig.sample import Sample
from imig.schema import scene_to_json
from imig.shards.features import FEATURES_MEMBER, features_from_bytes
from imig.shards.writer import JSON_MEMBER
from imig.stages.base import BuildContext
from imig.stages.quality import CLEAN, MARKED, QualityConfig, QualityStage, watermark_hints

CONTEXT = BuildContext(recipe_seed=0, subset="basic")
TINY = ModelConfig(family="open-clip", weights="tiny", device="cpu")


class Judges:
    """Aesthetics by brightness, preference by the caption's length."""

    name = "double:judge"

    def __init__(self) -> None:
        self.captions: list[str] = []

    def judge_aesthetics(self, images: Sequence[Image]) -> list[float]:
        return [1 + 9 * float(np.asarray(image).mean()) / 255 for image in images]

    def judge_preference(self, images: Sequence[Image], captions: Sequence[str]) -> list[float]:
        self.captions += captions
        return [15 + len(caption) / 7 for caption in captions]


class MarkScorer:
    """Two dimensions: with a mark, without; pictures lie between by their mean red."""

    name = "double:marks"

    def embed_images(self, images: Sequence[Image]) -> np.ndarray:
        shares = [float(np.asarray(image)[..., 0].mean()) / 255 for image in images]
        return _unit([(share, 1 - share) for share in shares])

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return _unit([(1, 0) if text in MARKED else (0, 1) for text in texts])


def _unit(rows: Sequence[tuple[float, float]]) -> np.ndarray:
    table = np.array(rows, np.float32)
    return np.asarray(table / np.linalg.norm(table, axis=1, keepdims=True))


def make_sample(seed: int = 0) -> Sample:
    return tabletop_sample(seed, width=96, height=96)


def faults(sample: Sample) -> list[str]:
    findings = Findings(shard="s", sample=sample.scene.id)
    check_sample(findings, {**sample.files, JSON_MEMBER: scene_to_json(sample.scene)})
    return [f"{fault.kind}: {fault.message}" for fault in findings.faults]


def test_only_what_the_recipe_asks_for() -> None:
    sample = make_sample()
    sharpness = sample.scene.scores.sharpness
    stage = QualityStage(QualityConfig(perceptual_hash=False), CONTEXT)
    stage.setup()
    assert stage.models() == []
    (done,) = stage([sample])
    scores = done.scene.scores
    assert scores.sharpness == sharpness, "score has set it"
    assert (scores.aesthetics, scores.preference, scores.watermark) == (None, None, None)
    assert scores.perceptual_hash is None
    assert FEATURES_MEMBER not in done.files


def test_every_figure() -> None:
    judges = Judges()
    stage = QualityStage(
        QualityConfig(),
        CONTEXT,
        models={"aesthetics": judges, "preference": judges, "watermark": MarkScorer()},
    )
    stage.setup()
    captioned, silent = make_sample(0), make_sample(1)
    captioned.scene.scores.sharpness = None
    silent.scene.caption = ""
    first, second = stage([captioned, silent])
    scores = first.scene.scores
    assert scores.aesthetics is not None
    assert 1 < scores.aesthetics < 10
    assert scores.preference == round(15 + len(first.scene.caption) / 7, 4)
    assert second.scene.scores.preference is None
    assert judges.captions == [first.scene.caption]
    assert scores.sharpness is not None
    assert scores.perceptual_hash == perceptual_hash(first.target())
    assert scores.watermark is not None
    assert not faults(first)


def test_the_watermark_s_hint_is_a_softmax_over_wordings() -> None:
    from PIL import Image as images

    red, half, black = (images.new("RGB", (8, 8), (value, 0, 0)) for value in (255, 128, 0))
    scorer = MarkScorer()
    hints = watermark_hints(scorer, scorer.embed_images([red, half, black]))
    assert hints[0] > 0.999
    assert hints[1] == pytest.approx(0.5, abs=0.2)
    assert hints[2] < 0.001
    assert len(MARKED) == len(CLEAN), "else a picture that says nothing is not at 0.5"


@pytest.mark.model
def test_the_tiny_open_clip_gives_features_and_a_hint() -> None:
    config = QualityConfig(features=TINY, watermark=TINY)
    digests = []
    for _ in range(2):
        stage = QualityStage(config, CONTEXT)
        stage.setup()
        assert [record.family for record in stage.models()] == ["open-clip", "open-clip"]
        samples = stage([make_sample(0), make_sample(1)])
        digests.append([digest(sample.files) for sample in samples])
        vectors = [features_from_bytes(one.files[FEATURES_MEMBER], place="x") for one in samples]
        assert vectors[0].dtype == np.float16
        assert not np.array_equal(vectors[0], vectors[1])
        for sample in samples:
            assert sample.scene.scores.watermark is not None
            assert not faults(sample)
    assert digests[0] == digests[1]


@pytest.mark.parametrize("key", ["aesthetics", "preference", "watermark", "features"])
def test_a_family_that_cannot_do_it(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "imig.models.registry.load_model", lambda config, batch_size: MeanColourEmbedder()
    )
    wrong = ModelConfig(family="dinov2")
    stage = QualityStage(QualityConfig.model_validate({key: wrong}), CONTEXT)
    with pytest.raises(UsageError, match=f"quality.{key}: the family 'dinov2' is not"):
        stage.setup()

"""CLIP scores of pictures and of boxes; templates; the evaluator's exchange of channels."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.model_doubles import ColourScorer

from imig.evaluation.case import Case, CaseInstance
from imig.evaluation.look import Seen
from imig.evaluation.metrics import clip
from imig.evaluation.metrics.base import Values
from imig.evaluation.metrics.clip import ClipConfig, ClipMetric, cut_box, fill_templates

RED, BLUE = (255, 0, 0), (0, 0, 255)
CASE = Case(
    id="0",
    caption="a red thing",
    size=(100, 100),
    instances=(
        CaseInstance(phrase="red mug", box=(0.0, 0.0, 49.9, 100.0)),
        CaseInstance(phrase="blue ball", box=(60.0, 10.0, 90.0, 30.0)),
        CaseInstance(phrase="red cube"),
    ),
)


def picture(left: tuple[int, int, int], right: tuple[int, int, int]) -> Image.Image:
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[:, :50], pixels[:, 50:] = left, right
    return Image.fromarray(pixels)


def measure(image: Image.Image, *, scorer: Any = None, case: Case = CASE, **config: Any) -> Values:
    metric = ClipMetric(
        ClipConfig.model_validate(config), loaded={"model": scorer or ColourScorer()}
    )
    metric.setup()
    return metric([Seen(case, image, ())])[0]


def test_the_picture_is_compared_with_the_caption_and_each_box_with_its_phrase() -> None:
    values = measure(picture(RED, BLUE))
    assert values["clip_local"] == [pytest.approx(1, abs=1e-3), pytest.approx(1, abs=1e-3), None]
    exchanged = measure(picture(BLUE, RED))["clip_local"]
    assert exchanged[0] is not None and exchanged[0] < 0  # noqa: PT018
    all_red, all_blue = (measure(picture(one, one))["clip_global"][0] for one in (RED, BLUE))
    assert all_red == pytest.approx(1, abs=1e-3)
    assert all_blue is not None and all_blue < 0  # noqa: PT018


def test_the_quirk_shows_red_as_blue() -> None:
    straight, quirk = measure(picture(RED, BLUE)), measure(picture(BLUE, RED), bgr_quirk=True)
    assert quirk == straight


class CountingScorer(ColourScorer):
    """Keeps the texts that it is asked for."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        return super().embed_texts(texts)


def test_a_phrase_is_embedded_once_for_all_pictures() -> None:
    scorer = CountingScorer()
    metric = ClipMetric(ClipConfig(), loaded={"model": scorer})
    metric.setup()
    metric([Seen(CASE, picture(RED, BLUE), ())] * 3)
    assert scorer.texts.count("red mug") == 1


@pytest.mark.model
@pytest.mark.long
def test_there_are_eighty_templates() -> None:
    texts = fill_templates("a red cat", "imagenet-80")
    assert texts[0] == "a bad photo of a a red cat."
    assert len(set(texts)) == 80


class LengthScorer(CountingScorer):
    """Texts are told apart by their length."""

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        angles = np.array([len(one) / 10 for one in texts], np.float32)
        return np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1).astype(np.float32)


def test_with_templates_the_score_of_a_box_is_the_mean_of_their_cosines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    templates = ("a photo of {}.", "a bad photo of the {}.", "itap of my {}, seen from afar.")
    fillers = [one.format for one in templates]
    monkeypatch.setattr(clip, "open_clip", SimpleNamespace(OPENAI_IMAGENET_TEMPLATES=fillers))
    scorer, image = LengthScorer(), picture(RED, BLUE)
    value = measure(image, scorer=scorer, templates="imagenet-80")["clip_local"][0]
    assert CASE.caption in scorer.texts  # captions stay as they are
    cut = cut_box(image, (0.0, 0.0, 49.9, 100.0))
    assert cut is not None
    texts = scorer.embed_texts([one.format("red mug") for one in templates])
    cosines = texts @ scorer.embed_images([cut])[0]
    assert value == pytest.approx(cosines.mean(), abs=1e-6)
    # a mean of features, made one long again, would be another figure
    assert np.linalg.norm(texts.mean(axis=0)) < 0.9


@pytest.mark.parametrize(
    ("box", "columns"),
    [
        pytest.param((10.0, 0.0, 50.0, 100.0), (10, 50), id="whole pixels"),
        pytest.param((10.9, 0.0, 50.9, 100.0), (10, 50), id="corners are cut, not rounded"),
        pytest.param((-5.0, 0.0, 50.0, 100.0), (0, 50), id="within the picture"),
        pytest.param((20.2, 0.0, 20.9, 100.0), None, id="less than a pixel"),
    ],
)
def test_what_is_cut_out_of_a_box(
    box: tuple[float, float, float, float], columns: tuple[int, int] | None
) -> None:
    ramp = Image.fromarray(np.repeat(np.arange(100, dtype=np.uint8)[None], 100, axis=0)).convert(
        "RGB"
    )
    cut = cut_box(ramp, box)
    if columns is None:
        assert cut is None
        return
    assert cut is not None
    assert cut.size == (512, 512)
    pixels = np.asarray(cut)
    assert (pixels.min(), pixels.max()) == (columns[0], columns[1] - 1)

"""Metrics that ask judges: what is asked, of which picture, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from support.face_doubles import FacesBySize, face

import imig
from imig.errors import UsageError
from imig.evaluation.case import Case, CaseInstance, CaseReference, Question
from imig.evaluation.look import Seen
from imig.evaluation.metrics.aesthetics import AestheticsConfig, AestheticsMetric
from imig.evaluation.metrics.attributes import AttributesConfig, AttributesMetric
from imig.evaluation.metrics.base import Metric
from imig.evaluation.metrics.faces import FacesConfig, FacesMetric
from imig.evaluation.metrics.preference import PreferenceConfig, PreferenceMetric
from imig.evaluation.metrics.questions import QuestionsConfig, QuestionsMetric
from imig.models.protocols import PictureAnswer
from imig.recipe.parts import EndpointConfig, ModelConfig

TOWER = Path(imig.__file__).parent / "weights" / "open-clip"


class Answerer:
    """Answers as a function of picture and prompt says; only to what is asked verbatim."""

    name = "double:answerer"

    def __init__(self, says: Callable[[Image.Image, str], bool]) -> None:
        self.says = says
        self.asked: list[tuple[tuple[int, int], str]] = []

    def answer(
        self, images: Sequence[Image.Image], questions: Sequence[str], *, verbatim: bool = False
    ) -> list[PictureAnswer]:
        assert verbatim
        self.asked += [(one.size, text) for one, text in zip(images, questions, strict=True)]
        return [
            PictureAnswer(self.says(one, text), "")
            for one, text in zip(images, questions, strict=True)
        ]


def seen(
    *instances: CaseInstance,
    size: tuple[int, int] = (100, 80),
    questions: Sequence[Question] = (),
    id: str = "a",
) -> Seen:
    image = Image.new("RGB", size, "white")
    image.paste((200, 0, 0), (0, 0, size[0] // 2, size[1]))
    case = Case(id=id, caption="a caption", size=size, instances=instances,
                questions=tuple(questions))  # fmt: skip
    return Seen(case, image, ())


def with_reference(size: tuple[int, int], **values: Any) -> CaseInstance:
    reference = CaseReference(name="r", read=lambda: (Image.new("RGB", size), None))
    return CaseInstance("someone", references=(reference,), **values)


def questions(says: Callable[[Image.Image, str], bool], **config: Any) -> QuestionsMetric:
    return QuestionsMetric(QuestionsConfig(**config), loaded={"model": Answerer(says)})


def test_a_question_is_right_when_its_answer_is() -> None:
    metric = questions(lambda _, text: "mug" in text, prompt="One word: {question}")
    asked = [Question("a mug?"), Question("a duck?"), Question("no mug?", answer=False)]
    (values,) = metric([seen(questions=asked)])
    assert values == {
        "answers_right": [1.0, 0.0, 0.0], "picture_answers_right": [pytest.approx(1 / 3)],
    }  # fmt: skip
    assert [text for _, text in metric.loaded["model"].asked] == [
        "One word: a mug?", "One word: a duck?", "One word: no mug?",
    ]  # fmt: skip


def test_each_picture_keeps_its_own_answers() -> None:
    metric = questions(lambda image, _: image.size == (60, 60))
    found = metric(
        [
            seen(questions=[Question("a?")] * 3),
            seen(questions=[Question("b?")], size=(60, 60)),
            seen(questions=[Question("c?"), Question("d?")]),
        ]
    )
    assert [one["answers_right"] for one in found] == [[0.0] * 3, [1.0], [0.0] * 2]


def test_braces_in_a_question_stay() -> None:
    metric = questions(lambda *_: True)
    metric([seen(questions=[Question("does it say {question}?")])])
    assert metric.loaded["model"].asked[0][1].endswith(": does it say {question}?")


def attributes(says: Callable[[Image.Image, str], bool]) -> AttributesMetric:
    config = AttributesConfig(
        spatial_prompt="there: {thing}", attribute_prompt="{kind} of {thing} as {phrase}"
    )
    return AttributesMetric(config, loaded={"model": Answerer(says)})


MUG = CaseInstance("a red mug/cup with stripes", noun="mug/cup", box=(0.0, 0.0, 50.0, 80.0))
DUCK = CaseInstance("a blue duck", noun="duck", box=(50.0, 40.0, 100.0, 80.0))


def test_attributes_are_asked_of_what_is_there_and_of_nothing_else() -> None:
    metric = attributes(lambda _, text: text.startswith(("there: mug", "shape")))
    (values,) = metric([seen(MUG, CaseInstance("somewhere"), DUCK)])
    assert values == {
        "attribute_spatial": [1.0, None, 0.0],
        "attribute_colour": [0.0, None, 0.0],
        "attribute_texture": [0.0, None, 0.0],
        "attribute_shape": [1.0, None, 0.0],
    }
    assert [text for _, text in metric.loaded["model"].asked] == [
        "there: mugcup",
        "there: duck",
        "colour of mugcup as a red mugcup with stripes",
        "texture of mugcup as a red mugcup with stripes",
        "shape of mugcup as a red mugcup with stripes",
    ]


def test_the_judge_sees_the_box_alone() -> None:
    def is_red(image: Image.Image, _: str) -> bool:
        return bool((np.asarray(image) == (200, 0, 0)).all())

    metric = attributes(is_red)
    (values,) = metric([seen(MUG, DUCK)])
    assert values["attribute_colour"] == [1.0, 0.0]
    assert [size for size, _ in metric.loaded["model"].asked][:2] == [(50, 80), (50, 40)]


@pytest.mark.parametrize(
    ("box", "size"),
    [
        pytest.param((10.9, 10.9, 60.9, 60.9), (50, 50), id="corners are truncated"),
        pytest.param((9.9999999, 0, 60, 50), (50, 50), id="not what was scaled a hair too low"),
        pytest.param((20, 20, 60, 20.5), (40, 28), id="a sliver is made large enough for a model"),
        pytest.param((99.9, 79.9, 130, 90), (31, 28), id="at the picture's edge"),
    ],
)
def test_crops_are_boxes_in_whole_pixels(
    box: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    metric = attributes(lambda *_: False)
    metric([seen(CaseInstance("it", box=box))])
    assert metric.loaded["model"].asked[0][0] == size


FACES = {
    (100, 80): [face((0, 0, 40, 40), 0, likeness=0.3), face((50, 0, 70, 20), 1, likeness=0.8)],
    (30, 30): [face((0, 0, 20, 20), 1), face((0, 0, 10, 10), 0, score=0.95)],
    (40, 40): [face((0, 0, 20, 20), 1)],
}


def faces() -> FacesMetric:
    return FacesMetric(FacesConfig(), loaded={"model": FacesBySize(FACES)})


def of_persons(
    *sizes: tuple[int, int], picture: tuple[int, int] = (100, 80)
) -> dict[str, list[float | None]]:
    people = [with_reference(one, kind="person") for one in sizes]
    (values,) = faces()([seen(*people, size=picture)])
    return {name: list(one) for name, one in values.items()}


def test_a_person_is_compared_with_the_most_similar_face() -> None:
    assert of_persons((40, 40))["face_identity"] == [pytest.approx(0.8)]
    # several people may be alike the same face
    assert of_persons((40, 40), (40, 40))["face_identity"] == pytest.approx([0.8, 0.8])


def test_a_reference_s_face_is_the_surest_not_the_largest() -> None:
    assert of_persons((30, 30))["face_identity"] == [pytest.approx(0.3)]


def test_without_a_face_a_person_has_zero_and_it_is_said_where() -> None:
    assert of_persons((40, 40), picture=(60, 60)) == {
        "face_identity": [0.0], "reference_has_face": [1.0],
    }  # fmt: skip
    assert of_persons((10, 10)) == {"face_identity": [0.0], "reference_has_face": [0.0]}


def test_things_have_no_faces_and_references_are_looked_at_once() -> None:
    metric = faces()
    pictures = [seen(with_reference((40, 40)), with_reference((40, 40), kind="person"))] * 3
    assert [one["face_identity"][0] for one in metric(pictures)] == [None] * 3
    assert metric.loaded["model"].shown == [(100, 80)] * 3 + [(40, 40)]
    assert metric.lacks(pictures[0].case) is None
    assert metric.lacks(seen(with_reference((40, 40))).case) == "no references of people"


def test_faces_wait_for_a_licence_that_is_accepted() -> None:
    model = ModelConfig(family="insightface", weights="buffalo_l")
    with pytest.raises(UsageError, match="non-commercial") as caught:
        FacesMetric(FacesConfig(model=model)).unset()
    assert "faces.accept_licence=true" in caught.value.cure
    assert FacesMetric(FacesConfig(model=model, accept_licence=True)).unset() is None


@pytest.mark.parametrize(
    ("metric", "keys"),
    [
        pytest.param(QuestionsMetric(QuestionsConfig()), "endpoint or questions.model", id="both"),
        pytest.param(FacesMetric(FacesConfig()), "faces.model", id="faces"),
        pytest.param(AestheticsMetric(AestheticsConfig()), "aesthetics.model", id="aesthetics"),
        pytest.param(PreferenceMetric(PreferenceConfig()), "preference.model", id="preference"),
    ],
)
def test_a_metric_without_its_model_says_which_key_names_it(metric: Metric[Any], keys: str) -> None:
    reason = metric.unset()
    assert reason is not None
    assert keys in reason


def test_a_judge_is_either_here_or_behind_a_server() -> None:
    with pytest.raises(ValueError, match="either an endpoint or a model"):
        QuestionsConfig(model=ModelConfig(family="qwen3-vl"), endpoint=EndpointConfig(model="m"))


@pytest.mark.long
def test_aesthetics_are_the_family_s_own_figures(tmp_path: Path) -> None:
    """The tiny tower, and a head in LAION's layout that says 5 and a little."""
    torch.manual_seed(0)
    save_file(
        {"weight": torch.randn(1, 64) / 8, "bias": torch.tensor([5.0])},
        tmp_path / "head.safetensors",
    )
    config = AestheticsConfig(
        model=ModelConfig(
            family="aesthetics", weights=str(TOWER), config=str(tmp_path / "head.safetensors")
        )
    )
    metric = AestheticsMetric(config)
    assert metric.unset() is None
    metric.setup()
    pictures = [seen(), seen(size=(40, 90))]
    found = [one["aesthetics"] for one in metric(pictures)]
    own = metric.judge.judge_aesthetics([one.image for one in pictures])
    assert found == [[one] for one in own]
    assert found[0] != found[1]
    assert 1 < own[0] < 10


def test_preference_is_of_each_picture_and_its_own_caption() -> None:
    class Judge:
        name = "double:judge"

        def judge_preference(
            self, images: Sequence[Image.Image], captions: Sequence[str]
        ) -> list[float]:
            return [one.width + len(text) for one, text in zip(images, captions, strict=True)]

    metric = PreferenceMetric(PreferenceConfig(), loaded={"model": Judge()})
    found = metric([seen(), seen(size=(40, 40))])
    assert [one["preference"] for one in found] == [[109.0], [49.0]]

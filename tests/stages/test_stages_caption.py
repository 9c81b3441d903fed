"""The stage caption with models that name the objects of their captions, and with an endpoint."""

from __future__ import annotations

import base64
import io
import json
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError
from support.chat_server import ChatServer, Fault, Reply, Said, chat_server, first_then, user_text

from imig.engine.blocks import Block, run_stage
from imig.errors import DataError, UsageError
from imig.models.protocols import Description, PhraseCaptioner
from imig.recipe.parts import ModelConfig
from imig.sample import Sample, image_to_jpeg
from imig.schema import Scene, Source
from imig.stages.base import BuildContext
from imig.stages.caption import UNFOUND_PHRASE, UNNAMED, CaptionConfig, CaptionStage

CONTEXT = BuildContext(recipe_seed=0, subset="basic")
GOOD = '{"caption": "Two dogs chase a red ball.", "phrases": ["dogs", "red ball"]}'
STRAY = '{"caption": "A dog chases a red ball.", "phrases": ["dog", "blue ball"]}'


def sample_of(
    number: int = 0,
    *,
    caption: str = "",
    nouns: Sequence[str] = (),
    size: tuple[int, int] = (48, 32),
) -> Sample:
    scene = Scene(
        id=f"basic-{number:08d}",
        subset="basic",
        caption=caption,
        nouns=list(nouns),
        width=size[0],
        height=size[1],
        source=Source(kind="file", path="a.png"),
        seed=number,
    )
    return Sample(
        scene, {"target.jpg": image_to_jpeg(Image.new("RGB", size, (9 * number, 20, 60)))}
    )


class FixedDescriber:
    """Says the same of every picture."""

    name = "double:describer"

    def __init__(self, description: Description) -> None:
        self.description = description
        self.asked: list[tuple[str, int]] = []

    def describe(
        self, images: Sequence[Image.Image], *, instruction: str, max_phrases: int
    ) -> list[Description]:
        self.asked.append((instruction, max_phrases))
        return [self.description] * len(images)

    def caption(self, images: Sequence[Image.Image]) -> list[str]:
        raise AssertionError("a stage that can have the phrases too asks for them")


def stage_with(description: Description, **settings: Any) -> CaptionStage:
    double = FixedDescriber(description)
    assert isinstance(double, PhraseCaptioner)
    config = CaptionConfig.model_validate(settings)
    return CaptionStage(config, CONTEXT, models={"model": double})


def stage_at(server: ChatServer | str, *, concurrency: int = 8, **settings: Any) -> CaptionStage:
    endpoint = {
        "url": server if isinstance(server, str) else server.url,
        "model": "some-model",
        "backoff_seconds": 0.01,
        "max_retries": 2,
        "concurrency": concurrency,
    }
    config = CaptionConfig.model_validate({"endpoint": endpoint, **settings})
    stage: CaptionStage = pickle.loads(pickle.dumps(CaptionStage(config, CONTEXT)))
    stage.setup()
    return stage


def captioned(reply: Reply, **settings: Any) -> tuple[Sample, ChatServer]:
    """One picture through the stage; and what the server was asked."""
    with chat_server(reply) as server:
        (sample,) = stage_at(server, **settings)([sample_of()])
    return sample, server


# settings


def test_an_endpoint_takes_the_place_of_the_default_model() -> None:
    config = CaptionConfig.model_validate({"endpoint": {"model": "m"}})
    assert config.model is None
    assert CaptionConfig.model_validate(config.model_dump(mode="json")) == config
    assert CaptionConfig().model == ModelConfig(family="blip")


@pytest.mark.parametrize(
    "settings",
    [{"endpoint": {"model": "m"}, "model": {"family": "blip"}}, {"model": None}],
    ids=["both", "neither"],
)
def test_either_an_endpoint_or_a_model(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="either an endpoint or a model"):
        CaptionConfig.model_validate(settings)


def test_recipes_from_before_keep_their_checksums() -> None:
    assert set(CaptionConfig().model_dump()) == {
        "resources", "model", "overwrite", "max_nouns", "ignored_nouns",
    }  # fmt: skip


# a model that names objects


def test_the_models_phrases_are_the_nouns() -> None:
    stage = stage_with(
        Description(" Two dogs chase a  Red Ball. ", ("dogs", "Red Ball")), max_nouns=5
    )
    (sample,) = stage([sample_of()])
    scene = sample.scene
    assert (scene.caption, scene.caption_model) == (
        "Two dogs chase a Red Ball.", "double:describer",
    )  # fmt: skip
    assert scene.nouns == ["dog", "red ball"]
    assert sample.oddities == []
    double = stage.captioner
    assert isinstance(double, FixedDescriber)
    ((instruction, most),) = double.asked
    assert (most, "each of them once" in instruction) == (5, True)


def test_what_the_source_gave_stays_unless_it_is_overwritten() -> None:
    description = Description("A dog and a red ball.", ("dog", "red ball"))
    samples = [sample_of(caption="two cats"), sample_of(nouns=["a", "b"])]
    own, named = stage_with(description)(samples)
    assert (own.scene.caption, own.scene.nouns) == ("two cats", ["cat"])
    assert (named.scene.caption, named.scene.nouns) == ("A dog and a red ball.", ["a", "b"])
    stage = stage_with(description, overwrite=True, overwrite_nouns=True, ignored_nouns=["ball"])
    (sample,) = stage([sample_of(caption="two cats", nouns=["a"])])
    assert (sample.scene.caption, sample.scene.nouns) == ("A dog and a red ball.", ["dog"])


def test_phrases_that_are_not_there_are_counted_and_left_out() -> None:
    description = Description("A dog, a red ball.", ("dog",), unfound=("cat",), problem="..")
    (sample,) = stage_with(description)([sample_of()])
    assert sample.scene.nouns == ["dog"]
    assert sample.oddities == [(UNFOUND_PHRASE, "'cat'")]


def test_a_caption_without_phrases_is_read() -> None:
    (sample,) = stage_with(Description("A dog, a red ball."))([sample_of()])
    assert sample.scene.nouns == ["dog", "red ball"]
    assert sample.oddities == [(UNNAMED, "'A dog, a red ball.'")]


def test_no_caption_is_a_reject() -> None:
    (sample,) = stage_with(Description("", problem="no JSON"))([sample_of(nouns=["a"])])
    assert sample.reject is not None
    assert (sample.reject.stage, sample.reject.reason) == ("caption", "no usable caption")
    assert sample.reject.figures == {"problem": "no JSON"}


# an endpoint


def test_an_endpoint_sees_the_picture_and_gives_caption_and_phrases() -> None:
    with chat_server(lambda _: GOOD, seconds=0.05) as server:
        stage = stage_at(server, instruction="Say what is there.", max_nouns=7)
        samples = stage([sample_of(n, size=(64 + n, 40)) for n in range(5)])
        assert server.most_busy >= 4
    assert all(one.scene.nouns == ["dog", "red ball"] for one in samples)
    assert samples[0].scene.caption == "Two dogs chase a red ball."
    assert samples[0].scene.caption_model == "openai-endpoint:some-model@unknown"
    sizes = set()
    for request in server.requests:
        ((picture, words),) = [message["content"] for message in request["messages"]]
        head, _, data = picture["image_url"]["url"].partition(",")
        assert head == "data:image/jpeg;base64"
        sizes.add(Image.open(io.BytesIO(base64.b64decode(data))).size)
        assert words["text"].startswith("Say what is there.\n")
        assert "at most 7," in words["text"]
        wanted = request["response_format"]["json_schema"]["schema"]["properties"]
        assert list(wanted) == ["caption", "phrases"]
    assert sizes == {(64 + n, 40) for n in range(5)}
    (record,) = stage.models()
    assert (record.family, record.weights) == ("openai-endpoint", "some-model")


def test_phrases_from_nowhere_are_asked_for_again() -> None:
    sample, server = captioned(first_then([STRAY], GOOD))
    assert sample.scene.nouns == ["dog", "red ball"]
    assert sample.oddities == []
    first, second = server.requests
    assert [one["role"] for one in second["messages"]] == ["user", "assistant", "user"]
    assert second["messages"][0] == first["messages"][0]
    assert json.loads(second["messages"][1]["content"]) == json.loads(STRAY)
    assert '"blue ball" does not stand in the caption' in user_text(second)


def test_phrases_that_never_stand_in_the_caption() -> None:
    sample, server = captioned(lambda _: STRAY)
    assert len(server.requests) == 3
    assert (sample.scene.caption, sample.scene.nouns) == ("A dog chases a red ball.", ["dog"])
    assert sample.oddities == [(UNFOUND_PHRASE, "'blue ball'")]


@pytest.mark.parametrize(
    ("answer", "problem", "asked"),
    [
        ("A dog and a ball.", "no JSON object", 3),
        ('{"caption": " ", "phrases": ["dog"]}', "the caption is empty", 3),
        (Said({"content": None, "refusal": "I do not describe people."}), "describe people", 1),
        (Said({"content": ""}, "content_filter"), "content filter", 1),
    ],
    ids=["no JSON", "empty caption", "refused", "filtered"],
)
def test_no_usable_caption(answer: str | Said, problem: str, asked: int) -> None:
    sample, server = captioned(lambda _: answer)
    assert len(server.requests) == asked
    assert sample.reject is not None
    assert sample.reject.reason == "no usable caption"
    assert problem in str(sample.reject.figures["problem"])


def test_a_refusal_after_an_answer_leaves_that_answer() -> None:
    refusal = Said({"content": None, "refusal": "No."})
    sample, _ = captioned(first_then([STRAY], refusal))
    assert (sample.reject, sample.scene.nouns) == (None, ["dog"])


def test_one_failing_picture_puts_only_its_scene_aside() -> None:
    narrow = image_to_jpeg(Image.new("RGB", (32, 32)))

    def reply(request: dict[str, Any]) -> str | Fault:
        data = request["messages"][0]["content"][0]["image_url"]["url"].partition(",")[2]
        size = Image.open(io.BytesIO(base64.b64decode(data))).size
        return Fault(500) if size == (32, 32) else GOOD

    with chat_server(reply) as server:
        samples = [sample_of(n) for n in range(3)]
        samples[1].files["target.jpg"] = narrow
        block = Block(0, 0, 3, samples=samples)
        run_stage(block, stage_at(server), batch_size=3)
        good = len(server.requests) - 2 * 3
    assert good == 2, "good answers are not paid for twice"
    assert [one.scene.nouns for one in block.samples] == [["dog", "red ball"]] * 2
    (aside,) = block.quarantined
    assert aside.id == "basic-00000001"


def test_a_server_without_sense_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Fault(400, {"error": {"message": "this model takes no images"}})
    with chat_server(lambda _: fault) as server, pytest.raises(DataError, match="takes no images"):
        stage_at(server)([sample_of()])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-key")
    with (
        chat_server(lambda _: GOOD, key="right") as server,
        pytest.raises(UsageError, match="refuses access"),
    ):
        stage_at(server)([sample_of()])


def test_any_stage_that_wants_a_captioner_has_one_in_an_endpoint() -> None:
    with chat_server(lambda _: GOOD) as server:
        model = stage_at(server).captioner
        assert model.caption([Image.new("RGB", (32, 32))]) == ["Two dogs chase a red ball."]

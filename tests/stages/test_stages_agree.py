"""Whether references and phrases agree: the stage, and an endpoint that is asked."""

from __future__ import annotations

import base64
import io
import json
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.chat_server import ChatServer, Fault, chat_server, user_text

from imig.engine.blocks import Block, run_stage
from imig.errors import DataError, UsageError
from imig.models.protocols import PictureAnswer
from imig.sample import Sample, image_to_jpeg
from imig.schema import Instance, Reference, Scene, Source
from imig.stages.agree import AgreeConfig, AgreeStage
from imig.stages.base import BuildContext

CONTEXT = BuildContext(recipe_seed=0, subset="complex")
COLOURS = {"red": (230, 20, 20), "blue": (20, 20, 230), "green": (20, 160, 20)}


def sample_of(number: int, *colours: str, phrases: Sequence[str] | None = None) -> Sample:
    """A scene whose references (crop and edit each) have one colour."""
    files = {"target.jpg": image_to_jpeg(Image.new("RGB", (64, 64)))}
    instances = []
    for index, colour in enumerate(colours):
        references = []
        for kind in ("crop", "edit", "face"):
            name = f"{'face' if kind == 'face' else 'ref'}{len(files):02d}"
            width = 40 if kind == "edit" else 32
            files[f"{name}.jpg"] = image_to_jpeg(Image.new("RGB", (width, 24), COLOURS[colour]))
            references.append(
                Reference.model_validate(
                    {
                        "name": name,
                        "kind": kind,
                        "image": f"{name}.jpg",
                        "mask": None,
                        "width": width,
                        "height": 24,
                        "subject_box": (0, 0, width, 24),
                    }
                )
            )
        phrase = phrases[index] if phrases else f"{colour} wall"
        instances.append(
            Instance(
                index=index,
                identity_id=f"{number}-{index}",
                phrase=phrase,
                noun="wall",
                box=(0, 0, 8, 8),
                references=references,
            )
        )
    scene = Scene(
        id=f"complex-{number:08d}",
        subset="complex",
        width=64,
        height=64,
        source=Source(kind="tabletop"),
        seed=0,
        instances=instances,
    )
    return Sample(scene, files)


def colour_of(image: Image.Image) -> str:
    mean = np.asarray(image.convert("RGB"), float).reshape(-1, 3).mean(axis=0)
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))


class ColourAnswerer:
    """Yes when the question names the picture's colour."""

    name = "double:answerer"

    def __init__(self) -> None:
        self.questions: list[str] = []

    def answer(
        self, images: Sequence[Image.Image], questions: Sequence[str]
    ) -> list[PictureAnswer]:
        self.questions += questions
        seen = [colour_of(image) for image in images]
        return [
            PictureAnswer(colour in question, f"it is {colour}")
            for colour, question in zip(seen, questions, strict=True)
        ]


def reply(request: dict[str, Any]) -> str:
    """As `ColourAnswerer`, over the wire."""
    picture = request["messages"][0]["content"][0]["image_url"]["url"]
    head, _, data = picture.partition(",")
    assert head == "data:image/jpeg;base64"
    colour = colour_of(Image.open(io.BytesIO(base64.b64decode(data))))
    return json.dumps({"reason": f"it is\n{colour}", "agrees": colour in user_text(request)})


def stage_at(server: ChatServer | str, **settings: Any) -> AgreeStage:
    endpoint = {"model": "some-model", "backoff_seconds": 0.01, "max_retries": 2, **settings}
    url = server if isinstance(server, str) else server.url
    config = AgreeConfig.model_validate({"endpoint": {"url": url, **endpoint}})
    stage: AgreeStage = pickle.loads(pickle.dumps(AgreeStage(config, CONTEXT)))
    stage.setup()
    return stage


def test_every_reference_but_faces_is_asked_about() -> None:
    config = AgreeConfig.model_validate(
        {"endpoint": {"model": "m"}, "question": 'Is "{phrase}" here?'}
    )
    answerer = ColourAnswerer()
    stage = AgreeStage(config, CONTEXT, models={"endpoint": answerer})
    stage.setup()
    sample = sample_of(0, "red", "blue", phrases=["red wall", "green wall"])
    assert stage([sample]) == [sample]
    assert answerer.questions == ['Is "red wall" here?'] * 2 + ['Is "green wall" here?'] * 2
    red, other = sample.scene.instances
    assert [one.agreement is None for one in red.references] == [False, False, True]
    agreement = red.references[0].agreement
    assert agreement is not None
    assert agreement.model_dump() == {
        "agrees": True, "reason": "it is red", "model": "double:answerer",
    }  # fmt: skip
    assert other.references[1].agreement is not None
    assert not other.references[1].agreement.agrees
    assert stage([]) == []


def test_an_endpoint_sees_the_pictures() -> None:
    with chat_server(reply, seconds=0.05) as server:
        stage = stage_at(server)
        samples = [sample_of(n, "red", "blue", phrases=["red wall", "red wall"]) for n in range(3)]
        stage(samples)
        assert server.most_busy >= 4
    for sample in samples:
        verdicts = [
            one.agreement.agrees
            for instance in sample.scene.instances
            for one in instance.references
            if one.agreement is not None
        ]
        assert verdicts == [True, True, False, False]
    agreement = samples[0].scene.instances[0].references[0].agreement
    assert agreement is not None
    assert agreement.reason == "it is red"
    assert agreement.model == "openai-endpoint:some-model@unknown"
    (record,) = stage.models()
    assert (record.family, record.weights, record.revision) == (
        "openai-endpoint", "some-model", "unknown",
    )  # fmt: skip


def test_answers_without_sense_are_asked_for_again() -> None:
    said = iter(["no idea", '{"reason": "?"}'])

    def vague(request: dict[str, Any]) -> str:
        return next(said, '{"agrees": "Yes", "reason": null}')

    with chat_server(vague) as server:
        sample = sample_of(0, "red")
        stage_at(server, concurrency=1)([sample])
        assert len(server.requests) == 4
    agreement = sample.scene.instances[0].references[0].agreement
    assert agreement is not None
    assert (agreement.agrees, agreement.reason) == (True, "")
    with chat_server(lambda _: "no idea") as server, pytest.raises(DataError, match="are none"):
        stage_at(server)([sample_of(0, "red")])


def test_one_failing_picture_puts_only_its_scene_aside() -> None:
    def fail_on_blue(request: dict[str, Any]) -> str | Fault:
        return Fault(500) if "blue" in user_text(request) else reply(request)

    with chat_server(fail_on_blue) as server:
        stage = stage_at(server)
        samples = [sample_of(0, "red"), sample_of(1, "blue"), sample_of(2, "green")]
        block = Block(0, 0, 3, samples=samples)
        run_stage(block, stage, batch_size=3)
        asked_about = [user_text(one) for one in server.requests]
    assert [one.scene.id for one in block.samples] == ["complex-00000000", "complex-00000002"]
    assert all(one.scene.instances[0].references[1].agreement for one in block.samples)
    (aside,) = block.quarantined
    assert aside.id == "complex-00000001"
    assert "3 tries failed" in aside.error
    assert sum("red wall" in one for one in asked_about) == 2, "good answers are not paid for twice"


def test_a_wrong_url_or_key_stops_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-key")
    with chat_server(reply, key="right") as server:
        with pytest.raises(UsageError, match="refuses access"):
            stage_at(server)([sample_of(0, "red")])
        dead = server.url
    block = Block(0, 0, 1, samples=[sample_of(0, "red")])
    with pytest.raises(UsageError, match="no server answers") as caught:
        run_stage(block, stage_at(dead), batch_size=1)
    assert "agree.endpoint.url" in caught.value.cure

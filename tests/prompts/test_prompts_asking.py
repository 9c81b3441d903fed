"""What a model is asked, and what of its answers is taken."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

import pytest

from imig.prompts.asking import (
    Brief,
    InvalidAnswer,
    answer_schema,
    answer_to_records,
    briefs_to_messages,
)
from imig.prompts.config import LanguageModelWriter
from imig.prompts.record import PromptRecord
from imig.prompts.templates import STYLES, Template, draw_template
from imig.text import find_words

WRITER = LanguageModelWriter.model_validate(
    {"kind": "language-model", "endpoint": {"model": "some-model"}}
)
TEMPLATE = Template("anime", "a harbour quay", "fog", "pets and tools", "touching", "open", 2)
BRIEF = Brief(7, 0, TEMPLATE)
GOOD = {
    "number": 1,
    "prompt": "A wet dog sits beside  the rusty red mug.",
    "subjects": [
        {"phrase": "the rusty red mug", "noun": "mug"},
        {"phrase": "Wet dog", "noun": "dog"},
    ],
}


def judge(answer: Any, briefs: int = 1, *, alone: bool = False) -> list[Any]:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    asked = [Brief(7 + n, 0, TEMPLATE) for n in range(briefs)]
    records = answer_to_records(text, asked, alone=alone, writer="some-model")
    return [record for _, record in records]


def test_a_good_answer_becomes_a_record() -> None:
    (record,) = judge({"prompts": [GOOD]})
    assert record == PromptRecord(
        prompt="A wet dog sits beside the rusty red mug.",
        nouns=["Wet dog", "rusty red mug"],  # in the prompt's order, without articles
        style="anime",
        template=asdict(TEMPLATE),
        writer="some-model",
    )
    alone = {**GOOD, "subjects": [{**one, "alone": f"a {one['noun']}"} for one in GOOD["subjects"]]}  # type: ignore[attr-defined]
    (record,) = judge({"prompts": [alone]}, alone=True)
    assert [one.model_dump() for one in record.subjects] == [
        {"phrase": "Wet dog", "noun": "dog", "prompt": "a dog"},
        {"phrase": "rusty red mug", "noun": "mug", "prompt": "a mug"},
    ]


def test_answers_around_the_form() -> None:
    assert isinstance(judge(f"```json\n{json.dumps({'prompts': [GOOD]})}\n```")[0], PromptRecord)
    assert isinstance(judge({**GOOD})[0], PromptRecord), "one prompt without its list"
    unnumbered = {key: value for key, value in GOOD.items() if key != "number"}
    records = judge({"prompts": [unnumbered, unnumbered]}, briefs=2)
    assert all(isinstance(record, PromptRecord) for record in records)
    first, second = judge({"prompts": [GOOD]}, briefs=2)
    assert isinstance(first, PromptRecord)
    assert str(second) == "no prompt for this brief"


def entry(number: object, kind: str = "dog") -> dict[str, Any]:
    text = json.dumps({**GOOD, "number": number}).replace("dog", kind)
    value: dict[str, Any] = json.loads(text)
    return value


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([entry(1), entry(2, "cat")]),
        json.dumps([entry(2, "cat"), entry(1)]),
        json.dumps([entry("1"), entry("2", "cat")]),
        json.dumps([entry(7), entry(7, "cat")]),
        f"{json.dumps(entry(1))}\n{json.dumps(entry(2, 'cat'))}\n",
        f"Brief 1:\n```json\n{json.dumps(entry(1))}\n```\nBrief 2:\n```json\n"
        f"{json.dumps(entry(2, 'cat'))}\n```",
        json.dumps({"answer": {"prompts": [entry(1), entry(2, "cat")]}}),
        json.dumps({"1": entry(None), "2": entry(None, "cat")}),
        f"<think>{json.dumps([entry(1, 'pig'), entry(2, 'pig')])}</think>"
        f"{json.dumps([entry(1), entry(2, 'cat')])}",
        f"{json.dumps({'prompts': [entry(1, 'pig'), entry(2, 'cat')]})}\nThe first is not good:\n"
        f"{json.dumps(entry(1))}",
        f"{json.dumps([entry(0, 'pig'), entry(0, 'pig')])} Better:"
        f"{json.dumps([entry(0), entry(0, 'cat')])}",
        f"{json.dumps(answer_schema(alone=False))}\n{json.dumps([entry(1), entry(2, 'cat')])}",
        str({"prompts": [entry(1), entry(2, "cat")]}),
    ],
    ids=["array", "any order", "numbers as text", "misnumbered", "lines", "fences", "envelope",
         "by key", "thoughts", "a draft of one", "a draft of both", "schema first", "Python"],
)  # fmt: skip
def test_several_prompts_are_several_answers(text: str) -> None:
    records = judge(text, briefs=2)
    assert [record.nouns[0] for record in records] == ["Wet dog", "Wet cat"]


def changed(**values: Any) -> dict[str, Any]:
    return {"prompts": [{**GOOD, **values}]}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("I cannot do that.", "no JSON object"),
        ('{"prompts": [{"number": 1, "pro', "no JSON object"),
        ('{"prompts": [{"a": 1}, {]}', "broken JSON"),
        ({"answer": []}, "'prompt' is a required property"),
        ({"prompts": ["A dog."]}, "'prompt' is a required property"),
        ({"prompts": []}, "'prompt' is a required property"),
        (f"<think>{json.dumps(GOOD)}</think>", "only thoughts"),
        (json.dumps([GOOD])[:-9], "breaks off"),
        (json.dumps(answer_schema(alone=False)), "'prompt' is a required property"),
        (changed(prompt="  "), "prompt is empty"),
        (changed(prompt=7), "prompt is empty"),
        (changed(prompt="dog " * 400), "letters, more than"),
        (changed(subjects="dog"), "no list of objects"),
        (changed(subjects=GOOD["subjects"][:1]), "1 subjects instead of 2"),  # type: ignore[index]
        (changed(subjects=[{"phrase": "wet dog", "noun": "dog"}] * 2), "the same phrase"),
        (changed(prompt="A wet dog."), "does not say 'rusty red mug'"),
        (changed(prompt="A wet dogs and the rusty red mugs."), "does not say"),
        (changed(subjects=[{"phrase": "wet dog", "noun": "hound"}] * 2), "not hold its noun"),
    ],
)
def test_what_is_not_taken(answer: Any, reason: str) -> None:
    (record,) = judge(answer)
    assert isinstance(record, InvalidAnswer)
    assert reason in str(record)


def test_subjects_alone_must_name_them() -> None:
    (record,) = judge({"prompts": [GOOD]}, alone=True)
    assert "alone is empty" in str(record)


def test_find_words() -> None:
    assert find_words("red mug", "A Red\n mug.") == 2
    assert find_words("mug", "smuggled") is None
    assert find_words("dog (small)", "a dog (small)") == 2
    assert find_words(" ", "a b") is None


def test_requests_say_everything_once() -> None:
    (message,) = briefs_to_messages([BRIEF, BRIEF], alone=True)
    text = message["content"]
    assert "Brief 2: 2 subjects, from among pets and tools. Where: a harbour quay, fog." in text
    assert "Style: anime" in text
    assert "`alone`" in text
    assert "`alone`" not in briefs_to_messages([BRIEF], alone=False)[0]["content"]
    entry = answer_schema(alone=True)["properties"]["prompts"]["items"]
    assert entry["additionalProperties"] is False
    assert entry["properties"]["subjects"]["items"]["required"] == ["phrase", "noun", "alone"]


def test_templates_follow_the_seed_and_the_shares() -> None:
    def draw(number: int, attempt: int = 0, **settings: Any) -> Template:
        writer = WRITER.model_copy(update=settings)
        return draw_template(
            number, attempt=attempt, recipe_seed=3, subset="basic", instances=(2, 5), writer=writer
        )

    assert draw(1) == draw(1)
    assert draw(1) != draw(1, attempt=1)
    styles = Counter(draw(number).style for number in range(4000))
    assert 0.85 <= styles["realistic"] / 4000 <= 0.90
    assert set(styles) == {"realistic", *STYLES}
    counts = Counter(draw(number).count for number in range(400))
    assert set(counts) == {2, 3, 4, 5}
    assert len({draw(number) for number in range(2000)}) == 2000
    own = draw(1, scenes=("here",), styles=("crayon",), interactions=("none",), realistic=0.0)
    assert (own.setting, own.style, own.interaction) == ("here", "crayon", "none")

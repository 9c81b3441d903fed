"""What language models say -> the JSON that they mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imig.endpoint.answers import text_to_answer
from imig.models.json_answer import answer_to_json, answer_to_objects, is_whole_answer
from imig.models.protocols import PictureAnswer
from imig.models.thoughts import without_thoughts

SCHEMA = {
    "type": "object",
    "properties": {"reason": {"type": ["string", "null"]}, "agrees": {"type": "boolean"}},
    "required": ["agrees"],
}
NO = {"agrees": False}
RED = {"reason": "it is red", "agrees": False}
ECHO = json.dumps(SCHEMA)

ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ('{"agrees": false}', NO),
    "byte order mark": ('\ufeff{"agrees": false}', NO),
    # Thoughts.
    "think": ('<think>{"x":1}</think>{"agrees": false}', NO),
    "think with a draft": ('<think>\n{"agrees": true}\n</think>\n\n{"agrees": false}', NO),
    "think with braces": ('<think>say { or {"a" or [</think>{"agrees": false}', NO),
    "thinking": ('<thinking>{"agrees": true}</thinking>{"agrees": false}', NO),
    "reasoning": ('<reasoning>{"agrees": true}</reasoning>\n{"agrees": false}', NO),
    "thought": ('<thought>{"agrees": true}</thought>{"agrees": false}', NO),
    "think and reflection": (
        '<think>{"agrees": true}</think><reflection>{"agrees": true}</reflection>{"agrees": false}',
        NO,
    ),
    "Think, an attribute": ('<Think type="x">{"agrees": true}</Think>{"agrees": false}', NO),
    "think closed otherwise": ('<think>{"agrees": true}</thinking>{"agrees": false}', NO),
    "no opening": ('It may be {"agrees": true}.\n</think>\n\n{"agrees": false}', NO),
    "closed in a string": ('<think>"</think>" ends it: {"a": 1}</think>{"agrees": false}', NO),
    "never closed": ('<think>\nIt is not.\n{"agrees": false}', NO),
    "never closed, fenced": ('<think>\nNo.\n```json\n{"agrees": false}\n```', NO),
    "Seed-OSS": ('<seed:think>{"agrees": true}</seed:think>{"agrees": false}', NO),
    "Magistral": ('[THINK]{"agrees": true}[/THINK]{"agrees": false}', NO),
    "Kimi": ('◁think▷{"agrees": true}◁/think▷{"agrees": false}', NO),
    "Command A": (
        '<|START_THINKING|>{"agrees": true}<|END_THINKING|><|START_RESPONSE|>{"agrees": false}'
        "<|END_RESPONSE|>",
        NO,
    ),
    "OpenThinker": (
        '<|begin_of_thought|>{"agrees": true}<|end_of_thought|><|begin_of_solution|>'
        '{"agrees": false}<|end_of_solution|>',
        NO,
    ),
    "Apertus": ('<|inner_prefix|>{"agrees": true}<|inner_suffix|>{"agrees": false}', NO),
    "Gemma": ('<|channel>thought\n{"agrees": true}<channel|>{"agrees": false}', NO),
    "Granite in words": (
        'Here is my thought process:\n{"agrees": true}\nHere is my response:\n{"agrees": false}',
        NO,
    ),
    "Granite in tags": ('<think>so</think><response>{"agrees": false}</response>', NO),
    "Apriel": (
        'Here are my reasoning steps:\n{"agrees": true}\n[BEGIN FINAL RESPONSE]\n{"agrees": false}'
        "\n[END FINAL RESPONSE]",
        NO,
    ),
    "gpt-oss": (
        '<|channel|>analysis<|message|>{"agrees": true}<|end|><|start|>assistant<|channel|>final '
        '<|constrain|>json<|message|>{"agrees": false}<|return|>',
        NO,
    ),
    "gpt-oss with commentary": (
        '<|channel|>analysis<|message|>so<|end|><|start|>assistant<|channel|>commentary to=f '
        '<|message|>{"agrees": true}<|call|><|channel|>final<|message|>{"agrees": false}',
        NO,
    ),
    "gpt-oss without marks": ('analysisMaybe {"agrees": true}assistantfinal{"agrees": false}', NO),
    "mark in a string": ('{"reason": "no <think> here", "agrees": false}',
                         {"reason": "no <think> here", "agrees": False}),
    "mark at its end": ('{"agrees": false}<|im_end|>', NO),
    "Phi's end": ('{"agrees": false}<|end|>', NO),
    # Words around it.
    "fence": ('```json\n{"agrees": false}\n```', NO),
    "fence, then words with braces": ('```\n{"agrees": false}\n```\nwhere {agrees} is {a|b}', NO),
    "form, then the answer": ('As {"agrees": true or false}: {"agrees": false}', NO),
    "answer, then the form": ('{"agrees": false}, as {"agrees": bool, "reason": ...}', NO),
    "schema, then the answer": (f'{ECHO}\n{{"agrees": false}}', NO),
    "answer, then the schema": (f'{{"agrees": false}}\n{ECHO}', NO),
    "draft, then the answer": ('{"agrees": true}\nNo, wait:\n{"agrees": false}', NO),
    "cut draft, then the answer": ('{"reason": "it", "agrees":\n\nAgain:\n{"agrees": false}', NO),
    "brackets in words": ('[Note: {1, 2} and [a] {"agrees": false} (see [1])', NO),
    "tags": ('<answer>{"agrees": false}</answer>', NO),
    "bullet": ('- {"agrees": false}', NO),
    "one brace too many": ('{"agrees": false}}', NO),
    # Envelopes.
    "answer": ('{"answer": {"agrees": false}}', NO),
    "call": ('{"name": "answer", "arguments": {"agrees": false}}', NO),
    "schema with values": ('{"type": "object", "properties": {"agrees": false}}', NO),
    "array of one": ('[{"agrees": false}]', NO),
    "array, never closed": ('[{"agrees": false}', NO),
    "lines": ('{"agrees": true}\n{"agrees": false}\n', NO),
    "string": (json.dumps('{"agrees": false}'), NO),
    "string in a fence": ("```\n" + json.dumps(json.dumps(RED)) + "\n```", RED),
    "string in an envelope": (json.dumps({"result": json.dumps(NO)}), NO),
    "escaped": ('{\\"reason\\": \\"it is red\\", \\"agrees\\": false}', RED),
    "escaped with its line ends": (
        '{\\n  \\"reason\\": \\"it is red\\",\\n \\"agrees\\": false\\n}',
        RED,
    ),
    "line ends alone escaped": ('{\\n  "reason": "it is red",\\n  "agrees": false\\n}', RED),
    "keys in another case": ('{"Reason": "it is red", "AGREES": false}', RED),
    "keys with blanks": ('{" reason": "it is red", "agrees ": false}', RED),
    "keys of both kinds": ('{"agrees": false, "Agrees": true}', {**NO, "Agrees": True}),
    # Nearly JSON.
    "full-width punctuation": ('{"reason"："it is red"，"agrees"：false}', RED),
    "full-width within": ('{"reason": "红：是，对", "agrees": false,}',
                          {"reason": "红：是，对", "agrees": False}),
    "raw line end": ('{"reason": "it is\nred", "agrees": false}',
                     {"reason": "it is\nred", "agrees": False}),
    "raw tab": ('{"reason": "it is\tred", "agrees": false}',
                {"reason": "it is\tred", "agrees": False}),
    "doubled braces": ('{{"reason": "it is red", "agrees": false}}', RED),
    "doubled within": ('{{"answer": {{"agrees": false}}}}', NO),
    "doubled at the beginning": ('{{"agrees": false}', NO),
    "single quotes": ("{'reason': 'it is red', 'agrees': false}", RED),
    "an apostrophe": ("{'reason': 'it's red', 'agrees': False}",
                      {"reason": "it's red", "agrees": False}),
    "Python": ("{'reason': None, 'agrees': False}", {"reason": None, "agrees": False}),
    "trailing comma": ('{"reason": "it is red", "agrees": false,}', RED),
    "missing comma": ('{"reason": "it is red" "agrees": false}', RED),
    "missing comma, line end": ('{"reason": "it is red"\n"agrees": false}', RED),
    "no quotes": ('{reason: "it is red", agrees: false}', RED),
    "comments": ('{"reason": "it is red", // seen\n /* no */ "agrees": false # so\n}', RED),
    "no comment": ('{"reason": "http://a/#b", "agrees": false,}',
                   {"reason": "http://a/#b", "agrees": False}),
    "typographic quotes": ("{“reason”: “it is red”, “agrees”: false}", RED),
    "typographic quotes within": ('{"reason": "the “red” one", "agrees": false,}',
                                  {"reason": "the “red” one", "agrees": False}),
    "quotes within": ('{"reason": "the "red", round one", "agrees": false}',
                      {"reason": 'the "red", round one', "agrees": False}),
    "an escape that is none": ("{\"reason\": \"it\\'s red\", \"agrees\": false}",
                               {"reason": "it's red", "agrees": False}),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_what_is_meant(name: str) -> None:
    text, value = ANSWERS[name]
    assert answer_to_json(text, schema=SCHEMA) == value


NO_ANSWERS = {
    "nothing": ("", "no JSON object"),
    "words": ("I cannot say.", "no JSON object"),
    "backwards": ("}{", "no JSON object"),
    "cut in a word": ('{"agrees": fal', "breaks off"),
    "cut before the brace": ('{"agrees": false', "breaks off"),
    "cut in a string": ('{"agrees": false, "reason": "it is', "breaks off"),
    "cut in a fence": ('```json\n{"agrees": false, "reason": "it\n```', "breaks off"),
    "cut, single quotes": ("{'agrees': False, 'reason': 'it", "breaks off"),
    "cut behind an object": ('{"a": {"agrees": true}, "b": [', "breaks off"),
    "cut after a draft": ('{"agrees": true} No: {"agrees": fal', "breaks off"),
    "cut array": ('[{"agrees": true}, {"agrees": fa', "breaks off"),
    "only thoughts": ('<think>{"agrees": true}</think>', "only thoughts"),
    "thoughts cut off": ('<think>{"agrees": true} is a draft, but', "only thoughts"),
    "gpt-oss, cut off": ('<|channel|>analysis<|message|>{"agrees": true} is', "only thoughts"),
    "gpt-oss, no end": ('{"agrees": true}<|channel|>final<|message|>', "only thoughts"),
    "the form": ('{"reason": "one short sentence", "agrees": true or false}', "broken JSON"),
    "two keys in one": ('{"agrees": true "maybe"}', "no JSON object"),
    "left out": ('{"reason": , "agrees": false}', "broken JSON"),
    "mismatched": ('{"reason": ["a"}, "agrees": false}', "broken JSON"),
    "a draft cut in a string": ('{"reason": "it\n\nAgain:\n{"agrees": false}', "broken JSON"),
    "an object in a string": ('{"reason": "{"agrees": true}", "agrees": false}', "broken JSON"),
    "the schema": (ECHO, "'agrees' is a required property"),
    "another object": ('{"x": 1}', "'agrees' is a required property"),
    "two in an envelope": ('{"a": {"agrees": true}, "b": {"agrees": false}}', "required property"),
    "another type": ('{"agrees": "perhaps"}', "'perhaps' is not of type 'boolean'"),
    "an ellipsis": ('{"agrees": ...}', "is not of type 'boolean'"),
    "not a number": ('{"agrees": NaN}', "is not of type 'boolean'"),
    "half a character": ('{"agrees": true, "reason": "\\ud83d"}', "half a character"),
    "a model that repeats a bracket": ('["a",' * 20_000, "breaks off"),
    "a model that repeats a brace": ("{" * 100_000, "breaks off"),
    "a model that repeats after an answer": ('{"agrees": true}' + '{"' * 20_000, "breaks off"),
    "too deep": ('{"agrees":' + "[" * 100_000, "no JSON object"),
    "an array of words": ('["agrees", false]', "no JSON object"),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer(name: str) -> None:
    text, reason = NO_ANSWERS[name]
    with pytest.raises(ValueError, match="JSON object") as caught:
        answer_to_json(text, schema=SCHEMA)
    assert reason in str(caught.value)


def test_without_a_schema_any_object_will_do() -> None:
    assert answer_to_json('Sure!\n{"a": {"b": 1}}\nAnything else?') == {"a": {"b": 1}}
    assert answer_to_json('{"a": 1} {"b": 2}') == {"b": 2}


ENTRY = {"type": "object", "required": ["n"]}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ('[{"n": 1}, {"n": 2}]', [1, 2]),
        ('{"n": 1}\n{"n": 2}\n', [1, 2]),
        ('{"n": 1}, {"n": 2}', [1, 2]),
        ('{"prompts": [{"n": 1}, {"n": 2}], "total": 2}', [1, 2]),
        ('{"first": {"n": 1}, "second": {"n": 2}}', [1, 2]),
        ('[[{"n": 1}], [{"n": 2}]]', [1, 2]),
        ('1. {"n": 1}\n2. {"n": 2}', [1, 2]),
        ('```json\n{"n": 1}\n```\nand\n```json\n{"n": 2}\n```', [1, 2]),
        ("[{'n': 1}, {'n': 2},]", [1, 2]),
        ('<think>[{"n": 7}]</think>[{"n": 1}, {"n": 2}]', [1, 2]),
        ('Draft: [{"n": 1}]. Final: [{"n": 2}]', [1, 2]),
        (json.dumps(['{"n": 1}', '{"n": 2}']), [1, 2]),
        ('{"x": 1} {"n": 2}', [2]),
    ],
)
def test_several_answers(text: str, numbers: list[int]) -> None:
    assert [one["n"] for one in answer_to_objects(text, schema=ENTRY)] == numbers


def test_several_answers_of_which_one_breaks_off() -> None:
    with pytest.raises(ValueError, match="breaks off"):
        answer_to_objects('[{"n": 1}, {"n": 2', schema=ENTRY)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"agrees": true, "reason": "it  is\\nred"}', PictureAnswer(True, "it is red")),
        ('{"agrees": "Yes", "reason": null}', PictureAnswer(True, "")),
        ('{"agrees": "**No**, it is blue"}', PictureAnswer(False, "")),
        ('{"agrees": "false"}', PictureAnswer(False, "")),
        ('{"agrees": yes}', PictureAnswer(True, "")),
        ('{"agrees": 0}', PictureAnswer(False, "")),
        ('<think>{"x":1}</think>{"agrees": false}', PictureAnswer(False, "")),
    ],
)
def test_verdicts(text: str, answer: PictureAnswer) -> None:
    assert text_to_answer(text) == answer


@pytest.mark.parametrize("verdict", ["true or false", "yes/no", "unsure", "north", 2, None])
def test_no_verdicts(verdict: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        text_to_answer(json.dumps({"agrees": verdict}))


def test_whole_answers() -> None:
    assert is_whole_answer(' {"agrees": true}\n', schema=SCHEMA)
    for text in ('{"agrees": true}.', "{}", "[]", '"x"', "", "[" * 5000):
        assert not is_whole_answer(text, schema=SCHEMA)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Yes, it is.", "Yes, it is."),
        ("<think>hm</think>\nYes", "\nYes"),
        ("hm</think>Yes", "Yes"),
        ("<think>hm", ""),
        ("a<think>b</think>c<think>d</think>e", "ace"),
    ],
)
def test_without_thoughts(text: str, rest: str) -> None:
    assert without_thoughts(text) == rest

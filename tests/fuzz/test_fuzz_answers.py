"""Answers of language models: any words, and any object among them."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imig.endpoint.answers import text_to_answer
from imig.endpoint.errors import body_to_message
from imig.endpoint.place import base_url, likely_url, proxy_for
from imig.models.json_answer import answer_to_json, answer_to_objects
from imig.models.thoughts import without_thoughts
from imig.prompts.asking import Brief, InvalidAnswer, answer_to_records
from imig.prompts.record import PromptRecord, record_to_line
from imig.prompts.templates import Template

SCHEMA = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "agrees": {"type": "boolean"}},
    "required": ["reason", "agrees"],
}
PIECES = st.sampled_from(
    [
        "{", "}", "[", "]", '"', "'", "“", "”", ":", ",", "\\", "\\u", "\\ud83d", "\n", "```",
        "//", "/*", "#", "<think>", "</think>", "[THINK]", "◁/think▷",
        "<|channel|>analysis<|message|>",
        "<|channel|>final<|message|>", "<|end|>", "analysis", "assistantfinal", "true", "None",
        "NaN", "1e999", "-", '{"agrees": ', '"agrees"',
        '{"prompt": "a red mug", "subjects": [', '"reason"',
        '{"a": ', "{'a': ", "{{", "}}", '{\\"', "Here is my response:",
    ]
)  # fmt: skip
NEARLY = st.lists(PIECES | st.text(max_size=4), max_size=30).map("".join)
BRIEF = Brief(0, 0, Template("anime", "a quay", "fog", "pets", "touching", "open", 1))


def _try(text: str) -> None:
    for read in (answer_to_json, answer_to_objects):
        for schema in (None, SCHEMA):
            try:
                found = read(text, schema=schema)
            except ValueError:
                continue
            json.dumps(found, ensure_ascii=False).encode()
    with contextlib.suppress(ValueError):
        text_to_answer(text)
    for _, record in answer_to_records(text, [BRIEF, BRIEF], alone=True, writer="m"):
        assert isinstance(record, (InvalidAnswer, PromptRecord))
        if isinstance(record, PromptRecord):
            record_to_line(record)
    assert len(without_thoughts(text)) <= len(text)


@given(NEARLY | st.text())
@example('{"prompt": "a red mug", "number": "\u00b2"}')
@example('[{"prompt": "a \\ud83d mug", "subjects": [{"phrase": "mug", "noun": "mug"}]}]')
@example('{"number": ' + "9" * 5000 + ', "prompt": "x"}')
def test_any_words_are_an_answer_or_none(text: str) -> None:
    _try(text)


@pytest.mark.parametrize(
    "piece",
    ["{", "[", '{"a":', '{"a": "', "<think>", '{"x {"x ', "{'a': ", "{a: ", '"{\\"a', "[{", '["',
     '{\\"', "{{", "<|channel|>analysis", '{"a": [', " {", '{"":'],
)  # fmt: skip
def test_long_nonsense_ends(piece: str) -> None:
    _try(piece * 150)


PROSE = st.text(st.characters(exclude_characters="{}[]<>◁", exclude_categories=["Cs"]), max_size=40)
WORDS_WITH_BRACES = st.sampled_from(
    [
        "",
        "{agrees}",
        "{a, b}",
        "{}",
        "[1]",
        "{ }",
        "{x: ",
        "}",
        "]",
        "[see",
        "{...}",
        "the {",
        "{{agrees}}",
    ]
)
THOUGHTS = st.sampled_from(
    ["<think>{}</think>", "[THINK]{}[/THINK]", "◁think▷{}◁/think▷", "{}</think>",
     "<thought>{}</thought>", "<|channel|>analysis<|message|>{}<|end|>"]
)  # fmt: skip
AROUND = st.sampled_from(
    ["{}", "```json\n{}\n```", "```\n{}```", "<answer>{}</answer>", "\n\n{}\n", "{}<|im_end|>",
    "[{}]",
     '{{"answer": {}}}']
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text("abcé \"'{<", max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
OBJECTS = st.builds(
    lambda more, reason, agrees: {**more, "reason": reason, "agrees": agrees},
    st.dictionaries(st.text("xyzü", min_size=1, max_size=4), VALUES, max_size=3),
    st.text(st.characters(exclude_categories=["Cs"]))
    | NEARLY.filter(lambda one: one.isprintable()),
    st.booleans(),
)


@given(
    value=OBJECTS,
    before=PROSE,
    after=PROSE,
    braces=WORDS_WITH_BRACES,
    thoughts=st.none()
    | st.tuples(THOUGHTS, PROSE | st.just('a draft: {"reason": "", "agrees": true}')),
    around=AROUND,
    ascii_only=st.booleans(),
    indent=st.none() | st.integers(0, 3),
)
def test_an_object_among_any_words_comes_back(
    value: dict[str, Any],
    before: str,
    after: str,
    braces: str,
    thoughts: tuple[str, str] | None,
    around: str,
    ascii_only: bool,
    indent: int | None,
) -> None:
    written = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    said = around.replace("{{", "{").replace("}}", "}") if "answer" in around else around
    said = said.replace("{}", written, 1)
    head = thoughts[0].replace("{}", thoughts[1], 1) if thoughts else ""
    text = f"{head}{before}\n{said}\n{after} {braces}"
    assert answer_to_json(text, schema=SCHEMA) == value


LOOSE = st.text(
    st.characters(exclude_characters="{}[]\"'`“”„‘’\\<◁#/:,", exclude_categories=["Cs", "Cc"]),
    max_size=30,
)


@given(reason=LOOSE, agrees=st.booleans(), quotes=st.sampled_from(['""', "''", "“”", "``", "‘’"]),
       end=st.sampled_from(["", ",", ", // so", "\n# so\n", "/* x */"]))  # fmt: skip
def test_loosely_written_objects_are_read_or_refused(
    reason: str, agrees: bool, quotes: str, end: str
) -> None:
    left, right = quotes[0], quotes[1]
    text = f"{{{left}reason{right}: {left}{reason}{right}, agrees: {agrees}{end}\n}}"
    assert answer_to_json(text, schema=SCHEMA) == {"reason": reason, "agrees": agrees}


@given(
    OBJECTS, st.floats(0, 1), st.sampled_from(["", "```json\n", "Well: ", "[", "<think>x</think>"])
)
def test_what_is_cut_off_is_never_an_answer(value: dict[str, Any], share: float, head: str) -> None:
    written = json.dumps(value)
    cut = written[: int(share * (len(written) - 1))]
    with pytest.raises(ValueError, match="JSON"):
        answer_to_json(head + cut, schema=SCHEMA)


@given(st.text() | st.binary() | VALUES)
def test_bodies_of_errors(body: Any) -> None:
    body_to_message(body)


URL_PIECES = st.sampled_from(["http", "://", ":", "/", "[", "]", "v1", "@", "h", "%", " "])


@given(st.text() | st.lists(URL_PIECES).map("".join))
@example("0 /")
@example("h/models/models")
def test_urls(url: str) -> None:
    assert base_url(base_url(url)) == base_url(url)
    likely_url(base_url(url))
    proxy_for(base_url(url))

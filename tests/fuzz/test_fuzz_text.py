"""Any bytes, any text: an answer or a DataError, and forms that are stable."""

from __future__ import annotations

import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from imig.errors import DataError
from imig.prompts.record import line_to_record
from imig.prompts.similarity import word_triples
from imig.text import (
    bytes_to_lines,
    bytes_to_text,
    find_words,
    mend_text,
    text_to_match_form,
    text_to_plain,
    to_stored,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
"""Halves of surrogate pairs and unassigned characters among it."""


@given(st.binary(max_size=80))
@example(b"\xff\xfe")
@example(b"\x00\xd8\x00")
@example(b"\xed\xa0\x80")
def test_any_bytes(data: bytes) -> None:
    text, said = "", "a.txt: byte "
    try:
        text = bytes_to_text(data, where="a.txt")
    except DataError as error:
        said = error.message
    assert said.startswith("a.txt: byte ")
    to_stored(text).encode()


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\x1b"), max_size=80))
def test_utf8_comes_back(text: str) -> None:
    assert bytes_to_text(b"\xef\xbb\xbf" + text.encode(), where="x") == text
    if not text.startswith("\ufeff"):
        assert bytes_to_text(text.encode(), where="x") == text
    for encoding in ("utf-16", "utf-32"):
        assert bytes_to_text(text.encode(encoding), where="x") == text


@given(st.lists(st.binary(max_size=30), max_size=6).map(b"\n".join))
def test_any_lines(data: bytes) -> None:
    lines, said = [], "list"
    try:
        lines = bytes_to_lines(data, where="list")
    except DataError as error:
        said = error.message
    assert said.startswith("list")
    if lines:
        assert [line.number for line in lines] == list(range(1, len(lines) + 1))
        assert not any(end in line.data for line in lines for end in b"\r\n")


@given(ANY_TEXT)
@example("Â\x0c\x80")
@example("Â\r0")
def test_mending_twice_changes_nothing(text: str) -> None:
    mended = mend_text(text)
    mended.encode()
    assert mend_text(mended) == mended == unicodedata.normalize("NFC", mended)
    assert to_stored(to_stored(text)) == to_stored(text)


@given(ANY_TEXT)
@example("\u0345\u1fb3")
@example("´\u00ad\u0301")
def test_forms_are_stable(text: str) -> None:
    plain, match = text_to_plain(text), text_to_match_form(text)
    assert text_to_plain(plain) == plain
    assert text_to_match_form(match) == match == text_to_match_form(plain)
    word_triples(text)


@given(ANY_TEXT, ANY_TEXT)
@example("`", "\x80")
def test_words_are_looked_for_in_any_text(phrase: str, text: str) -> None:
    place = find_words(phrase, f"{text} {phrase} {text}")
    assert (place is None) == (text_to_match_form(phrase) == "") or phrase != phrase.strip()


@given(st.binary(max_size=40) | ANY_TEXT.map(lambda text: repr(text).encode("utf-8", "replace")))
def test_any_line_of_a_file_of_prompts(line: bytes) -> None:
    for data in (line, b'{"prompt": "' + line + b'"}'):
        said = "p.jsonl:1: "
        try:
            line_to_record(data, place="p.jsonl:1").prompt.encode()
        except DataError as error:
            said = error.message
        assert said.startswith("p.jsonl:1: ")

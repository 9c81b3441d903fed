"""A long JSON list, element by element: values and places, wherever the file is read in pieces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imig.errors import DataError
from imig.interop import json_list
from imig.interop.json_list import each_element, read_element

VALUES: list[Any] = [{"ü": "🦉" * 9, "b": [1, 2]}, 12345678, "x,]", [], None, {"n": 1.5e3}, "é", 0]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_values_and_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None
) -> None:
    monkeypatch.setattr(json_list, "_CHUNK", chunk)
    path = tmp_path / "list.json"
    path.write_text(json.dumps(VALUES, indent=indent, ensure_ascii=False), encoding="utf-8")
    found = list(each_element(path))
    assert [one.value for one in found] == VALUES
    assert [read_element(path, offset=one.offset, size=one.size) for one in found] == VALUES


@pytest.mark.parametrize("text", ["[]", " [ ] \n"])
def test_no_elements(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.json").write_text(text)
    assert list(each_element(tmp_path / "list.json")) == []


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_bytes(b'\xef\xbb\xbf[{"a": "\xc3\xa4"}, 2]')
    first, second = each_element(path)
    assert (first.value, second.value) == ({"a": "ä"}, 2)
    assert read_element(path, offset=first.offset, size=first.size) == first.value
    assert read_element(path, offset=second.offset, size=second.size) == 2


def test_a_list_without_its_end(tmp_path: Path) -> None:
    """What is whole has come out; where the damage lies is said."""
    path = tmp_path / "list.json"
    path.write_text('[{"a": 1}, {"b": ')
    elements = each_element(path)
    assert next(elements).value == {"a": 1}
    with pytest.raises(DataError, match=r"list\.json is damaged near byte 11"):
        next(elements)


def test_an_element_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_list, "MAX_CHARACTERS", 100)
    path = tmp_path / "list.json"
    monkeypatch.setattr(json_list, "_CHUNK", 10)
    path.write_text("[" + '"a' + "a" * 1000)
    with pytest.raises(DataError, match="an element of more than 100 characters"):
        list(each_element(path))


def test_a_file_that_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text('[{"a": 1}, {"b": 2}]')
    (_, second) = each_element(path)
    path.write_text('[{"a": 100}, {"b": 2}]')
    with pytest.raises(DataError, match="has changed while it was read"):
        read_element(path, offset=second.offset, size=second.size)

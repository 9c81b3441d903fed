"""Text in YAML files."""

from __future__ import annotations

import pytest
import yaml

from imig.interop.yaml_text import yaml_text, yaml_word

TEXTS = [
    "", "a cup", "no", "1", 'a "b" \\ c', "日本 😀", "a\nb\tc",
    "a\x7fb", "a\x85b\u2028c", "\uffff\x1b",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_every_text_comes_back(text: str) -> None:
    assert yaml.safe_load(f"names:\n  0: {yaml_text(text)}\n") == {"names": {0: text}}


@pytest.mark.parametrize(
    "text", [*TEXTS, "train", "images/2024", "on", "Null", "a b", "a: b", "-", "1e3"]
)
def test_every_word_comes_back(text: str) -> None:
    assert yaml.safe_load(f"{yaml_word(text)}: {yaml_word(text)}\n") == {text: text}


def test_plain_words_stand_bare() -> None:
    assert yaml_word("images/train-2") == "images/train-2"

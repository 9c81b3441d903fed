"""Text in YAML files."""

from __future__ import annotations

import pytest
import yaml

from imig.interop.yaml_text import yaml_text

TEXTS = [
    "", "a cup", "no", "1", 'a "b" \\ c', "日本 😀", "a\nb\tc",
    "a\x7fb", "a\x85b\u2028c", "\uffff\x1b",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_every_text_comes_back(text: str) -> None:
    assert yaml.safe_load(f"names:\n  0: {yaml_text(text)}\n") == {"names": {0: text}}

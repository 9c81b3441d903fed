"""The tiny towers' tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from imig.tabletop import vocabulary
from tools.tiny.tokenizer import build_tokenizer, save_tokenizer, tabletop_words, vocabulary_lines


def test_special_tokens_have_the_ids_of_bert_base_uncased() -> None:
    tokenizer = build_tokenizer()
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?"]
    assert tokenizer.convert_tokens_to_ids(tokens) == [0, 100, 101, 102, 103, 1012, 1029]
    assert len(tokenizer) == len(vocabulary_lines()) == len(set(vocabulary_lines()))


def test_every_word_of_the_phrases_is_one_token() -> None:
    tokenizer, words = build_tokenizer(), tabletop_words()
    for word in (*vocabulary.PATTERNS, *vocabulary.COLOURS, *vocabulary.KINDS):
        assert tokenizer.tokenize(word) == [word]
        assert word in words


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Plain RED mug.", ["plain", "red", "mug", "."]),
        ("zebra", ["z", "##e", "##b", "##r", "##a"]),
        ("a ☃", ["a", "[UNK]"]),
    ],
)
def test_any_english_text_tokenizes(text: str, tokens: list[str]) -> None:
    assert build_tokenizer().tokenize(text) == tokens


def test_saved_tokenizer_reads_back_alike(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    saved = save_tokenizer(tmp_path, max_length=64)
    read = AutoTokenizer.from_pretrained(tmp_path)
    text = "two things: a plain red mug and a striped blue car"
    assert read(text)["input_ids"] == saved(text)["input_ids"]
    assert read.model_max_length == 64

"""The tokenizer that the tiny language towers share: BERT WordPiece over tabletop's words.

Grounding DINO hard-codes the ids of its special tokens (transformers' modelling code: 101, 102,
1012 for "." and 1029 for "?"), so the vocabulary has the layout of bert-base-uncased in these
places. Letters and their continuations precede the words: any English text tokenizes, if not well.
"""

from __future__ import annotations

import re
import string
from functools import cache
from pathlib import Path
from typing import Any

from imig.tabletop import render_scene, sample_scene, simple_caption, vocabulary

_FIXED = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
_FIRST_WORD = 1030
_CAPTION_SEEDS = 400
"""Captions read for words: enough for every template (the rest of the words are in no template)."""


@cache
def tabletop_words() -> tuple[str, ...]:
    """Every word of tabletop's phrases and captions, sorted."""
    words = {*vocabulary.KINDS, *vocabulary.COLOURS, *vocabulary.PATTERNS}
    words |= {*vocabulary.NUMBER_WORDS, *vocabulary.KIND_PLURALS.values()}
    for seed in range(_CAPTION_SEEDS):
        drawn = render_scene(sample_scene(seed, width=64, height=64))
        words |= set(re.findall(r"[a-z]+", f"{drawn.caption} {simple_caption(drawn)}".lower()))
    return tuple(sorted(words))


def vocabulary_lines() -> list[str]:
    """The vocabulary, a token a line; the line's number is the id."""
    letters = list(string.ascii_lowercase + string.digits)
    tokens = [*",:;!'-()", *letters, *("##" + letter for letter in letters)]
    tokens += [word for word in tabletop_words() if word not in letters]
    by_id = {number: token for token, number in _FIXED.items()}
    by_id |= {_FIRST_WORD + place: token for place, token in enumerate(tokens)}
    return [by_id.get(number, f"[unused{number}]") for number in range(max(by_id) + 1)]


def build_tokenizer(*, max_length: int = 256) -> Any:
    """A transformers BertTokenizer with this vocabulary."""
    from transformers import BertTokenizer

    ids = {token: number for number, token in enumerate(vocabulary_lines())}
    return BertTokenizer(vocab=ids, model_max_length=max_length)


def save_tokenizer(folder: Path, *, max_length: int = 256) -> Any:
    """Writes the tokenizer's files into `folder`, and returns it."""
    tokenizer = build_tokenizer(max_length=max_length)
    tokenizer.save_pretrained(folder)
    return tokenizer

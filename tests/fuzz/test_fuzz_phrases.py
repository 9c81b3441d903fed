"""Any list of phrases: captions that fit, with every phrase asked for once or named as unread."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imig.models.weights import resolve_weights
from imig.recipe.parts import ModelConfig

pytestmark = pytest.mark.model

WORDS = st.sampled_from(
    ["red mug", "\u200b", "x" * 300, "a. b?", "[SEP]", "😀", "红", "", "child’s"]
)
PHRASES = st.lists(WORDS | st.text(st.characters(exclude_categories=()), max_size=40), max_size=20)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    folder = resolve_weights(ModelConfig(family="grounding-dino")).path
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


@given(PHRASES, st.sampled_from([16, 256]))
def test_any_phrases(tokenizer: Any, phrases: list[str], max_tokens: int) -> None:
    from imig.models.grounding import phrases_to_prompts, unread_phrases

    prompts = phrases_to_prompts(phrases, tokenizer, max_tokens=max_tokens)
    unread = unread_phrases(phrases, tokenizer, max_tokens=max_tokens)
    asked = [phrase for one in prompts for phrase in one.phrases]
    assert len(set(asked)) == len(asked)
    assert not set(asked) & set(unread)
    if phrases:
        assert asked or unread
    for one in prompts:
        assert len(tokenizer(one.caption)["input_ids"]) <= max_tokens
        assert all(places for places in one.tokens)

"""Prompts, phrases and boxes: what both Grounding DINO families share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.models_support import bert_tokenizer

from imig.models.grounding import (
    best_phrases,
    phrases_to_prompts,
    select_boxes,
    unread_phrases,
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return bert_tokenizer(tmp_path_factory.mktemp("bert"))


def test_caption_and_token_places(tokenizer: Any) -> None:
    (prompt,) = phrases_to_prompts(["Red Cube", "cat", "bicycle"], tokenizer, max_tokens=256)
    assert prompt.caption == "red cube . cat . bicycle ."
    # [CLS] red cube . cat . bicycle . [SEP]
    assert prompt.tokens == ((1, 2), (4,), (6,))
    assert prompt.phrases == ("Red Cube", "cat", "bicycle")


def test_empty_repeated_and_dotted_phrases(tokenizer: Any) -> None:
    (prompt,) = phrases_to_prompts(["  ", "a.cat", "A cat", "?"], tokenizer, max_tokens=256)
    assert prompt.caption == "a cat ."
    assert prompt.phrases == ("a.cat",)
    assert phrases_to_prompts([], tokenizer, max_tokens=256) == []


def test_phrases_beyond_the_limit_go_into_further_captions(tokenizer: Any) -> None:
    phrases = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("cube", "cat")]
    prompts = phrases_to_prompts(phrases, tokenizer, max_tokens=8)
    assert [one.phrases for one in prompts] == [tuple(phrases[:2]), tuple(phrases[2:])]
    assert all(len(tokenizer(one.caption)["input_ids"]) <= 8 for one in prompts)
    (long,) = phrases_to_prompts(["red " * 20 + "cube"], tokenizer, max_tokens=10)
    assert len(tokenizer(long.caption)["input_ids"]) == 10


def test_phrase_with_the_best_mean_wins_and_weak_ones_are_blank(tokenizer: Any) -> None:
    (prompt,) = phrases_to_prompts(["red cube", "blue cube"], tokenizer, max_tokens=256)
    scores = np.zeros((3, 9), np.float32)
    scores[0, [1, 2, 5]] = [0.7, 0.6, 0.9]  # red and both cubes
    scores[1, [4, 5]] = [0.5, 0.5]
    scores[2, [1, 2]] = [0.2, 0.1]
    assert best_phrases(scores, prompt, text_threshold=0.25) == ["red cube", "blue cube", ""]


def test_boxes_are_sorted_clipped_and_thresholded(tokenizer: Any) -> None:
    (prompt,) = phrases_to_prompts(["cat"], tokenizer, max_tokens=256)
    scores = np.array([[0, 0.4, 0], [0, 0.9, 0], [0, 0.3, 0], [0, 0.8, 0]], np.float32)
    boxes = np.array(
        [[0.5, 0.5, 0.2, 0.4], [0.9, 0.9, 0.4, 0.4], [0.5, 0.5, 1, 1], [1.5, 0.5, 0.1, 0.1]],
        np.float32,
    )
    found = select_boxes(
        scores, boxes, prompt, size=(200, 100), box_threshold=0.35, text_threshold=0.25
    )
    # The last candidate lies outside of the image: nothing of it is left.
    np.testing.assert_allclose(found.boxes, [[140, 70, 200, 100], [80, 30, 120, 70]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.9, 0.4])
    assert found.phrases == ["cat", "cat"]


def test_vocabulary_matches_bert(tmp_path: Path) -> None:
    assert len(bert_tokenizer(tmp_path)) == 30522


UNREAD = [
    pytest.param(["\u200b", "red cube"], ["red cube"], ["\u200b"], id="zero-width"),
    pytest.param(["", "  ", "red cube"], ["red cube"], ["", "  "], id="blank"),
    pytest.param(["x" * 300, "red cube"], ["red cube"], ["x" * 300], id="300-letters"),
    pytest.param(["😀", "red cube"], ["red cube"], ["😀"], id="emoji"),
    pytest.param(["红" * 5000, "cat"], ["cat"], ["红" * 5000], id="5000-cjk"),
    pytest.param(["...", "?", "cat"], ["cat"], ["...", "?"], id="separators-only"),
    pytest.param(["\ufffd", "\ud83d", "cat"], ["cat"], ["\ufffd", "\ud83d"], id="halves"),
    pytest.param(["Red cube", "red cube", "red\u00a0cube."], ["Red cube"], [], id="alike"),
    pytest.param(["red\u00ad cube", "cat\u200b"], ["red\u00ad cube", "cat\u200b"], [], id="soft"),
    pytest.param(["[SEP]", "[PAD] cat"], ["[SEP]", "[PAD] cat"], [], id="special-tokens"),
    pytest.param(["\u200b", ""], [], ["\u200b", ""], id="only-bad-ones"),
    pytest.param([], [], [], id="none"),
    pytest.param(["ｒｅｄ　ｃｕｂｅ"], ["ｒｅｄ　ｃｕｂｅ"], [], id="full-width"),
]


@pytest.mark.parametrize(("phrases", "asked", "unread"), UNREAD)
def test_good_phrases_are_asked_for_and_bad_ones_named(
    tokenizer: Any, phrases: list[str], asked: list[str], unread: list[str]
) -> None:
    prompts = phrases_to_prompts(phrases, tokenizer, max_tokens=256)
    assert [phrase for one in prompts for phrase in one.phrases] == asked
    assert all(places for one in prompts for places in one.tokens)
    assert list(unread_phrases(phrases, tokenizer, max_tokens=256)) == unread


def test_300_phrases_and_5000_letters_fit_into_captions(tokenizer: Any) -> None:
    phrases = [f"red cube {number}" for number in range(300)] + ["blue cube " * 500]
    prompts = phrases_to_prompts(phrases, tokenizer, max_tokens=256)
    assert [phrase for one in prompts for phrase in one.phrases] == phrases
    lengths = [len(tokenizer(one.caption)["input_ids"]) for one in prompts]
    assert max(lengths) <= 256
    assert prompts[-1].caption.endswith("blue cube blue .") or "blue cube ." in prompts[-1].caption

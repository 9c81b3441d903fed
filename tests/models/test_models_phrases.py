"""Texts of every kind put to the tiny models that read text: an answer for the good ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.models_support import load, picture

BAD = ["", "  ", "\u200b", "x" * 300, "红" * 5000, "...", "\ud83d", "\ufffd"]
TEXTS = [*BAD, "red mug", "Red mug", "red mug " * 625, "😀", "a. b? c", "[SEP]", "child’s mug"]


def test_grounding_answers_for_good_phrases_and_names_bad_ones() -> None:
    model = load("grounding-dino", Path("tiny"))
    (found,) = model.ground(
        [picture(96, 96)], [[*TEXTS, "red mug"]], box_threshold=0.05, text_threshold=0.0
    )
    (clean,) = model.ground(
        [picture(96, 96)], [["\u200b", "red mug"]], box_threshold=0.05, text_threshold=0.0
    )
    assert set(BAD) <= set(found.unread)
    assert "red mug" not in found.unread
    assert len(clean.boxes)
    assert set(clean.phrases) == {"red mug"}
    (none,) = model.ground([picture(96, 96)], [BAD], box_threshold=0.05, text_threshold=0.0)
    assert (len(none.boxes), list(none.unread)) == (0, BAD)


def test_300_phrases_are_spread_over_captions() -> None:
    model = load("grounding-dino", Path("tiny"))
    phrases = [f"red mug {number}" for number in range(300)]
    (found,) = model.ground([picture(96, 96)], [phrases], box_threshold=0.05, text_threshold=0.0)
    assert found.unread == ()
    assert set(found.phrases) <= set(phrases)


def test_clip_reads_any_text() -> None:
    features = load("open-clip", Path("tiny")).embed_texts(TEXTS)
    assert np.isfinite(features).all()
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)

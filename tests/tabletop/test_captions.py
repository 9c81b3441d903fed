"""Captions: every phrase, the right number, good grammar, and reading them back."""

from __future__ import annotations

import re

import numpy as np
import pytest

from imig.tabletop import parse_prompt, render_scene, sample_scene, simple_caption
from imig.tabletop.captions import simple_caption_of
from imig.tabletop.vocabulary import hard_negative, number_word, split_phrase


def test_captions_name_everything() -> None:
    captions = set()
    for seed in range(120):
        rendered = render_scene(sample_scene(seed, width=64, height=64))
        caption = rendered.caption
        captions.add(re.sub(r"[a-z]+ (?=\w+ (?:thing|object))", "", caption.lower()))
        for instance in rendered.instances:
            assert instance.phrase in caption.lower()
        word = number_word(len(rendered.instances))
        assert re.search(rf"\b{word} (things|objects)", caption.lower()[:40])
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", caption.lower())
        assert caption[0].isupper()
        assert caption.endswith(".")
        combinations = sorted(i.identity.combination for i in rendered.instances)
        assert sorted(parse_prompt(caption)) == combinations
        simple = simple_caption(rendered)
        assert sorted(parse_prompt(simple)) == combinations
        assert simple.startswith(f"{word} things: a")
    assert len(captions) > 100


def test_simple_caption_runs_left_to_right() -> None:
    rendered = render_scene(sample_scene(3, width=128, height=128))
    ordered = sorted(rendered.instances, key=lambda i: i.box[0] + i.box[2])
    assert simple_caption(rendered) == simple_caption_of([i.phrase for i in ordered])
    phrases = ["plain red mug", "striped blue car", "dotted orange ball"]
    assert (
        simple_caption_of(phrases)
        == "three things: a plain red mug, a striped blue car and a dotted orange ball"
    )
    assert simple_caption_of(phrases[:1]) == "one thing: a plain red mug"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red mug", [("mug", "red", None)]),
        ("the chair", [("chair", None, None)]),
        ("an orange striped duck", [("duck", "orange", "striped")]),
        ("a red and striped mug and a ball", [("mug", "red", "striped"), ("ball", None, None)]),
        ("two green cars", [("car", "green", None)] * 2),
        ("a shiny sphere, a tiny blue cup", [("ball", None, "metallic"), ("mug", "blue", None)]),
        ("a mug by the night lamp", [("mug", None, None)]),
        ("a red ball. The red ball is by a car", [("ball", "red", None), ("car", None, None)]),
        ("Nothing of this world", []),
        ("", []),
    ],
)  # fmt: skip
def test_parse_prompt(text: str, expected: list[tuple[str | None, str | None, str | None]]) -> None:
    assert parse_prompt(text) == expected


def test_hard_negative() -> None:
    rng = np.random.default_rng(0)
    scene = ["plain red mug", "striped blue car", "plain red car"]
    differing = []
    for _ in range(300):
        negative = hard_negative("plain red mug", scene, rng)
        assert negative not in scene
        words = zip(split_phrase(negative), split_phrase("plain red mug"), strict=True)
        differing.append(sum(a != b for a, b in words))
    assert np.mean(np.array(differing) == 1) > 0.7
    with pytest.raises(ValueError, match="phrase"):
        hard_negative("a mug", scene, rng)

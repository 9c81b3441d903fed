"""What counts as a caption with its phrases, and what a model hears of an answer that is none."""

from __future__ import annotations

import json

import pytest

from imig.models.describing import TRIES, Interview, description_question, text_to_description

CAPTION = "A red mug stands  beside two grey cats' bowl; the blue-green vase holds a rose."


def said(caption: object, *phrases: object) -> str:
    return json.dumps({"caption": caption, "phrases": list(phrases)})


@pytest.mark.parametrize(
    ("phrase", "found"),
    [
        ("red mug", ("red mug",)),
        ("The RED  Mug", ("RED Mug",)),
        ("blue‑green vase", ("blue‑green vase",)),
        ("stands beside", ("stands beside",)),
        ("mu", ()),
        ("grey cat", ()),
        ("green mug", ()),
        ('"A mug".', ("mug",)),
    ],
)
def test_a_phrase_stands_in_its_caption_as_whole_words(phrase: str, found: tuple[str, ...]) -> None:
    description = text_to_description(said(CAPTION, phrase), max_phrases=4)
    assert description.caption == CAPTION.replace("  ", " ")
    assert description.phrases == found
    assert bool(description.problem) == bool(description.unfound) == (not found)


def test_phrases_come_in_the_order_of_the_caption_and_once() -> None:
    answer = said(CAPTION, "rose", "a red mug", "Red Mug", " ", "The", "blue-green vase")
    description = text_to_description(f"Sure:\n```json\n{answer}\n```", max_phrases=2)
    assert description.phrases == ("red mug", "blue-green vase")
    assert (description.unfound, description.problem) == ((), "")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("A red mug.", "no JSON object in the answer"),
        ('{"caption": "A red', "breaks off"),
        ('{"caption": "A red mug."}', "'phrases' is a required property"),
        (said(7, "mug"), "7 is not of type 'string'"),
        (said("a" * 20_000, "a"), "too long"),
        (said(" \u200b ", "mug"), "the caption is empty"),
        (f"<think>{said('A mug.')}</think>", "only thoughts"),
    ],
)
def test_what_is_no_description_says_why(answer: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        text_to_description(answer, max_phrases=4)


def test_asked_again_a_model_hears_what_was_wrong() -> None:
    interview = Interview(description_question("Describe it.", max_phrases=3), max_phrases=3)
    assert interview.turns[0].startswith("Describe it.\n")
    assert "at most 3," in interview.turns[0]
    interview.hear("<think>a mug?</think>It is a mug.")
    assert interview.turns[1] == "It is a mug."
    assert "no JSON object in the answer" in interview.turns[2]
    interview.hear(said("A red mug.", "red mug", "green mug", "cat"))
    assert '"green mug", "cat" do not stand in the caption' in interview.turns[4]
    interview.hear(said("A red mug and a cat.", "red mug", "cat"))
    assert interview.done
    assert interview.description().phrases == ("red mug", "cat")
    assert interview.description().problem == ""


@pytest.mark.parametrize(
    ("answers", "phrases", "unfound"),
    [
        ((said("A mug.", "cup"), said("A cup.", "cup", "pot"), "?"), ("cup",), ("pot",)),
        ((said("A cup.", "cup", "pot"), said("A mug.", "cup"), "?"), ("cup",), ("pot",)),
        (("?", said("A mug."), ""), (), ()),
    ],
    ids=["the later one is better", "the earlier one is better", "no phrase at all"],
)
def test_the_best_of_a_few_answers_is_taken(
    answers: tuple[str, ...], phrases: tuple[str, ...], unfound: tuple[str, ...]
) -> None:
    interview = Interview("?", max_phrases=3)
    for answer in answers:
        if not interview.done:
            interview.hear(answer)
    assert interview.done
    description = interview.description()
    assert (description.phrases, description.unfound) == (phrases, unfound)
    assert description.caption


def test_a_model_that_never_answers_is_given_up() -> None:
    interview = Interview("?", max_phrases=3)
    heard = 0
    while not interview.done:
        interview.hear("I cannot see it.")
        heard += 1
    assert heard == TRIES
    description = interview.description()
    assert (description.caption, description.problem) == ("", "no JSON object in the answer")

"""How a language model is asked for prompts, and what of its answer is good."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from imig.models.json_answer import answer_to_objects
from imig.prompts.record import PromptRecord
from imig.prompts.templates import REALISTIC, Template
from imig.schema import Subject
from imig.text import find_words, first_of_alike, mend_text

MAX_LETTERS: Final = 1200
"""Of a prompt: far more than text encoders read."""
_ENTRY: Final[dict[str, Any]] = {
    "type": "object",
    # An object stands there in the schema, which some models repeat.
    "properties": {"prompt": {"not": {"type": "object"}}},
    "required": ["prompt"],
}
"""How an entry of an answer is known; what else is wrong with it is said by itself."""
_ARTICLE: Final = re.compile(r"^(a|an|the|some|one)\s+", re.IGNORECASE)


@dataclass(frozen=True)
class Brief:
    """One prompt that is asked for."""

    number: int
    """Its place in the file."""
    attempt: int
    """From 0: how often it has been asked for before."""
    template: Template


class InvalidAnswer(ValueError):
    """Why an answer cannot be used."""


def briefs_to_messages(briefs: Sequence[Brief], *, alone: bool) -> list[dict[str, str]]:
    """A request for one prompt per brief; `alone`: with a prompt for each subject alone."""
    rules = [
        "You write prompts for a text-to-image model. Write one prompt for each brief below.",
        "Each prompt is one to three plain English sentences that describe one picture. It names "
        "exactly the number of subjects that the brief says, each a single, whole, well visible "
        "thing, animal or person that differs from the others in looks.",
        "Give every subject a short phrase of two to five words that singles it out, by colour, "
        "material or another visible trait, and use that very phrase, word for word, in the "
        "prompt. No subject is part of another, a group, or part of the background.",
        'Answer in JSON: {"prompts": [{"number": 1, "prompt": "..", "subjects": [..]}]}, one '
        "entry per brief, with the brief's number. Each subject has its `phrase` without an "
        "article, and `noun`, the last word or words of the phrase that say what it is"
        + (
            "; and `alone`, a prompt for a picture of this subject alone, whole, seen from the "
            "front, on a plain background, which describes it in the same words."
            if alone
            else "."
        ),
    ]
    asked = [
        f"Brief {place}: {one.count} subject{'s' if one.count > 1 else ''}, from among "
        f"{one.kinds}. Where: {one.setting}, {one.light}. How they stand to each other: "
        f"{one.interaction}; {one.places}. Style: {_style(one.style)}."
        for place, one in enumerate((brief.template for brief in briefs), start=1)
    ]
    return [{"role": "user", "content": "\n".join([*rules, "", *asked])}]


def answer_schema(*, alone: bool) -> dict[str, Any]:
    """Of the JSON that a model shall answer."""
    texts = ["phrase", "noun", *(["alone"] if alone else [])]
    subject = _object({name: {"type": "string"} for name in texts})
    entry = _object(
        {
            "number": {"type": "integer"},
            "prompt": {"type": "string"},
            "subjects": {"type": "array", "items": subject},
        }
    )
    return _object({"prompts": {"type": "array", "items": entry}})


def answer_to_records(
    text: str, briefs: Sequence[Brief], *, alone: bool, writer: str
) -> Iterator[tuple[Brief, PromptRecord | InvalidAnswer]]:
    """A record for each brief, or what is wrong with the answer to it."""
    try:
        entries = _entries(answer_to_objects(text, schema=_ENTRY), len(briefs))
    except ValueError as error:
        yield from ((brief, InvalidAnswer(str(error))) for brief in briefs)
        return
    for place, brief in enumerate(briefs, start=1):
        try:
            yield brief, _record(entries.get(place), brief, alone=alone, writer=writer)
        except InvalidAnswer as error:
            yield brief, error


def _entries(found: Sequence[Mapping[str, Any]], briefs: int) -> dict[int, Mapping[str, Any]]:
    """Entries by the place of their brief, from 1; of a draft and what replaces it, the latter."""
    numbers = [_number(entry) for entry in found]
    distinct = sorted(numbers) == list(range(1, len(found) + 1))
    drafts = len(found) > briefs and all(1 <= number <= briefs for number in numbers)
    if distinct or drafts:
        return dict(zip(numbers, found, strict=True))
    # Unnumbered or misnumbered: of the right length they are in the right order.
    if len(found) % briefs:
        raise InvalidAnswer(f"{len(found)} prompts for {briefs} briefs, not numbered")
    return dict(enumerate(found[-briefs:], start=1))


def _number(entry: Mapping[str, Any]) -> int:
    """The brief's, as the entry has it; 0 where it has none."""
    number = entry.get("number")
    text = str(number).strip() if isinstance(number, (int, str)) else ""
    return int(text) if text.isdecimal() and len(text) < 9 else 0


def _record(entry: Any, brief: Brief, *, alone: bool, writer: str) -> PromptRecord:
    """The record of a good entry. Raises InvalidAnswer for others."""
    if entry is None:
        raise InvalidAnswer("no prompt for this brief")
    prompt = _text(entry, "prompt")
    if len(prompt) > MAX_LETTERS:
        raise InvalidAnswer(f"the prompt has {len(prompt)} letters, more than {MAX_LETTERS}")
    listed = entry.get("subjects")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise InvalidAnswer("subjects is no list of objects")
    if len(listed) != brief.template.count:
        raise InvalidAnswer(f"{len(listed)} subjects instead of {brief.template.count}")
    placed = sorted((_subject(one, prompt, alone=alone) for one in listed), key=lambda one: one[0])
    subjects = [subject for _, subject in placed]
    phrases = [subject.phrase for subject in subjects]
    if len(first_of_alike(phrases)) < len(phrases):
        raise InvalidAnswer("two subjects have the same phrase")
    return PromptRecord(
        prompt=prompt,
        nouns=phrases,
        subjects=subjects if alone else [],
        style=brief.template.style,
        template=asdict(brief.template),
        writer=writer,
    )


def _subject(one: Mapping[str, Any], prompt: str, *, alone: bool) -> tuple[int, Subject]:
    """A subject and where in the prompt it stands."""
    phrase = _ARTICLE.sub("", _text(one, "phrase"))
    place = find_words(phrase, prompt)
    if place is None:
        raise InvalidAnswer(f"the prompt does not say {phrase!r}")
    noun = _ARTICLE.sub("", _text(one, "noun"))
    if find_words(noun, phrase) is None:
        raise InvalidAnswer(f"the phrase {phrase!r} does not hold its noun {noun!r}")
    by_itself = _text(one, "alone") if alone else phrase
    if find_words(noun, by_itself) is None:
        raise InvalidAnswer(f"the prompt for {phrase!r} alone does not name it")
    return place, Subject(phrase=phrase, noun=noun, prompt=by_itself)


def _text(entry: Mapping[str, Any], key: str) -> str:
    """A text of the answer, mended, its white space normalised."""
    value = entry.get(key)
    text = " ".join(mend_text(value).split()) if isinstance(value, str) else ""
    if not text:
        raise InvalidAnswer(f"{key} is empty")
    return text


def _style(style: str) -> str:
    return "a realistic photograph" if style == REALISTIC else f"{style}, and the prompt says so"


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }

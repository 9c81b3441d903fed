"""Captions with the objects in them, from a model that answers in words.

What is asked, what counts as an answer, and what is said about one that does not: the same for
models on this machine and behind a server. Decoding is greedy, so that the same question has the
same answer: who asks again has to say what was wrong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from PIL.Image import Image

from imig.models.json_answer import answer_to_json
from imig.models.protocols import Description
from imig.models.thoughts import without_thoughts
from imig.text import find_words, first_of_alike, to_stored

TRIES: Final = 3
"""Answers to one picture, after which the best of them is taken."""
INSTRUCTION: Final = (
    "Write a caption of this picture, for training a model that draws pictures from captions and "
    "boxes: one to three plain sentences that say what is to be seen and where. Mention every "
    "object that stands out and can be counted, each of them once and by a noun phrase of its own "
    'that tells it from the others ("a red mug and a blue mug", not "two mugs").'
)
"""What is asked for where a recipe says nothing else."""
MAX_PHRASES: Final = 12
_FORM: Final = (
    'Answer in JSON: {{"caption": "the caption", "phrases": ["first object", "second object"]}}. '
    "The phrases name the objects of the caption, people and animals among them, at most "
    "{max_phrases}, in its order: each copied from the caption word for word, adjectives included "
    "and the article left out. Surroundings such as sky, wall and floor are no objects."
)
_AGAIN: Final = (
    "That answer cannot be used: {problem}. Answer once more, with the whole JSON object and "
    "nothing else."
)
_MAX_CAPTION: Final = 10_000
"""Characters; a few sentences have some hundreds."""
_MAX_NAMED: Final = 200
"""Phrases of an answer that are looked at."""
_MARKS: Final = " .,;:!?\"'`*"
_ECHO: Final = 2_000
"""Characters of a bad answer that are said back to the model."""
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    # The caption first: the phrases are copied from it.
    "properties": {
        "caption": {"type": "string"},
        "phrases": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["caption", "phrases"],
    "additionalProperties": False,
}
"""Of an answer, for servers that take one."""
_READ: Final[dict[str, Any]] = {key: SCHEMA[key] for key in ("type", "properties", "required")}
"""What can be understood of it: with members that were not asked for, too."""


def description_question(instruction: str, *, max_phrases: int) -> str:
    """What a model is asked: the instruction, and the form of the answer."""
    return f"{instruction}\n{_FORM.format(max_phrases=max_phrases)}"


class Interview:
    """Questions and answers about one picture, until there is a description.

    Put `turns` to the model, tell its answer to `hear`, and go on until it is `done`.

    Parameters
    ----------
    question:
        The first one, of `description_question`.
    max_phrases:
        Objects of a description, at most.
    """

    def __init__(self, question: str, *, max_phrases: int) -> None:
        self.turns = [question]
        """A question about the picture, an answer, a question, ...: the last is a question."""
        self.done = False
        self._max_phrases = max_phrases
        self._heard = 0
        self._best: Description | None = None
        self._problem = ""

    def hear(self, answer: str) -> None:
        """The model's answer to the last turn."""
        self._heard += 1
        try:
            found = text_to_description(answer, max_phrases=self._max_phrases)
        except ValueError as error:
            self._problem = str(error)
        else:
            self._problem = found.problem
            best = self._best
            if best is None or not found.problem or len(found.phrases) > len(best.phrases):
                self._best = found
        if not self._problem or self._heard == TRIES:
            self.done = True
            return
        said = " ".join(without_thoughts(answer).split())[:_ECHO]
        self.turns += [said or "(nothing)", _AGAIN.format(problem=self._problem)]

    def give_up(self, problem: str) -> None:
        """There will be no more answers, for this reason."""
        self._problem = problem
        self.done = True

    def description(self) -> Description:
        """The answer without a fault; else the one most of whose phrases stand in its caption."""
        return self._best or Description("", problem=self._problem)


class DescribingCaptioner(ABC):
    """A `Captioner` by what it does as a `PhraseCaptioner`."""

    @abstractmethod
    def describe(
        self, images: Sequence[Image], *, instruction: str, max_phrases: int
    ) -> list[Description]:
        """As `imig.models.protocols.PhraseCaptioner`."""

    def caption(self, images: Sequence[Image]) -> list[str]:
        """One caption an image; "" where the model gave none that can be used."""
        described = self.describe(images, instruction=INSTRUCTION, max_phrases=MAX_PHRASES)
        return [one.caption for one in described]


def text_to_description(text: str, *, max_phrases: int) -> Description:
    """A model's words -> caption and phrases; `problem` says which of these are not in it.

    Case, blanks, marks around a phrase and the article before it are of no matter. Raises
    ValueError, with a reason for the model to read, when there is no caption.
    """
    value = answer_to_json(text, schema=_READ)
    if len(value["caption"]) > _MAX_CAPTION:
        raise ValueError("the caption is far too long")
    caption = to_stored(value["caption"])
    if not caption:
        raise ValueError("the caption is empty")
    phrases = [one[:_MAX_CAPTION] for one in value["phrases"][:_MAX_NAMED]]
    named = [_bare(to_stored(one)) for one in phrases]
    places = {one: find_words(one, caption) for one in first_of_alike(named)}
    found = {phrase: place for phrase, place in places.items() if place is not None}
    unfound = tuple(phrase for phrase in places if phrase not in found)
    problem = ""
    if unfound:
        listed = ", ".join(f'"{one[:80]}"' for one in unfound[:max_phrases])
        verb = "does" if len(unfound) == 1 else "do"
        problem = f"{listed} {verb} not stand in the caption word for word"
    return Description(
        caption, tuple(sorted(found, key=found.__getitem__)[:max_phrases]), unfound, problem
    )


def _bare(phrase: str) -> str:
    """Without marks around it and the article before it."""
    phrase = phrase.strip(_MARKS)
    article, _, rest = phrase.partition(" ")
    return rest if article.lower() in ("a", "an", "the") else phrase

"""Questions about pictures, put to an endpoint."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any, Final

from PIL.Image import Image

from imig.endpoint.errors import AnswerUnfinished, RequestRefused
from imig.endpoint.pictures import PictureAsker
from imig.errors import DataError
from imig.models.json_answer import answer_to_json
from imig.models.protocols import PictureAnswer
from imig.models.thoughts import without_thoughts
from imig.text import to_stored

TRIES: Final = 3
"""Answers without sense to one question, after which the picture is given up."""
_WORDS: Final = (
    'Answer in JSON: {"reason": "one short sentence", "agrees": true or false}. The subject must '
    "be there with all that the words say of it, such as colour and material; what else is in the "
    "picture does not matter."
)
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    # The reason first: what a model has said makes its verdict better.
    "properties": {"reason": {"type": "string"}, "agrees": {"type": "boolean"}},
    "required": ["reason", "agrees"],
    "additionalProperties": False,
}

_READ: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "agrees": {
            "anyOf": [
                {"type": "boolean"},
                # Not the "true or false" of a question that is repeated.
                {"type": "string", "pattern": r"(?i)^\W*(yes|no|true|false)\b(?!\s*(or\b|[/|]))"},
                {"enum": [0, 1]},
            ]
        }
    },
    "required": ["agrees"],
}
"""What can be understood of what was asked for: models leave the reason out, and write "yes"."""


class EndpointAnswerer(PictureAsker[PictureAnswer]):
    """A `PictureAnswerer`: as many questions under way as the endpoint's `concurrency` says."""

    def answer(
        self, images: Sequence[Image], questions: Sequence[str], *, verbatim: bool = False
    ) -> list[PictureAnswer]:
        """As `imig.models.protocols.PictureAnswerer`.

        Of a verbatim question the reason is all that the model said; a picture that it refuses, or
        comes to no answer about, has a no.

        Raises UsageError for a wrong URL, key or model; DataError when an answer cannot be had.
        """
        return self.ask_all(images, questions, self._judge if verbatim else self._answer)

    def _judge(self, picture: Mapping[str, Any], question: str) -> PictureAnswer:
        content = [picture, {"type": "text", "text": question}]
        try:
            text = self.endpoint.ask([{"role": "user", "content": content}], schema=None)
        except RequestRefused as refusal:
            if refusal.parameter != "content" and not isinstance(refusal, AnswerUnfinished):
                raise
            return PictureAnswer(False, to_stored(refusal.message))
        return PictureAnswer(says_yes(text), to_stored(text))

    def _answer(self, picture: Mapping[str, Any], question: str) -> PictureAnswer:
        content = [picture, {"type": "text", "text": f"{question}\n{_WORDS}"}]
        for attempt in range(1, TRIES + 1):
            text = self.endpoint.ask([{"role": "user", "content": content}], schema=_SCHEMA)
            try:
                return text_to_answer(text)
            except ValueError as error:
                if attempt == TRIES:
                    raise DataError(
                        f"{self.name} gave {TRIES} answers that are none to {question!r}, the last "
                        f"one: {error}"
                    ) from None
        raise AssertionError("the last attempt returns or raises")


def says_yes(text: str) -> bool:
    """Whether the first yes or no in a model's words is a yes; without either it is not."""
    found = re.search(r"(?i)\b(yes|no)\b", without_thoughts(text))
    return found is not None and found[1].lower() == "yes"


def text_to_answer(text: str) -> PictureAnswer:
    """A model's words -> its answer. Raises ValueError when they are none."""
    value = answer_to_json(text, schema=_READ)
    agrees, reason = value["agrees"], value.get("reason")
    if isinstance(agrees, str):
        agrees = agrees.lstrip(string.punctuation + string.whitespace).lower()[:1] in ("y", "t")
    return PictureAnswer(bool(agrees), to_stored(reason) if isinstance(reason, str) else "")

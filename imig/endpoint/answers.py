"""Questions about pictures, put to an endpoint."""

from __future__ import annotations

import hashlib
import io
import string
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from PIL.Image import Image

from imig.endpoint.endpoint import Endpoint, image_part
from imig.errors import DataError, UsageError
from imig.models.json_answer import answer_to_json
from imig.models.protocols import PictureAnswer
from imig.recipe.parts import EndpointConfig
from imig.text import to_stored

TRIES: Final = 3
"""Answers without sense to one question, after which the picture is given up."""
KEPT: Final = 512
"""Answers that are remembered: a batch in which one question fails is asked again one by one."""
_JPEG_QUALITY: Final = 92
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


class EndpointAnswerer:
    """A `PictureAnswerer`: as many questions under way as the endpoint's `concurrency` says.

    Parameters are those of `imig.endpoint.endpoint.Endpoint`.
    """

    def __init__(self, config: EndpointConfig, *, name: str, clients: int = 1) -> None:
        self.endpoint = Endpoint(config, name=name, clients=clients)
        self.name = self.endpoint.model_name
        self._kept: OrderedDict[str, PictureAnswer] = OrderedDict()
        self._pool = ThreadPoolExecutor(config.concurrency, thread_name_prefix="imig-ask")

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[PictureAnswer]:
        """Yes or no, and why, for each picture and its question.

        Raises UsageError for a wrong URL, key or model; DataError when an answer cannot be had.
        """
        waiting = [
            self._pool.submit(self._answer, image, question)
            for image, question in zip(images, questions, strict=True)
        ]
        try:
            self._wait(waiting)
        finally:
            for one in waiting:
                one.cancel()
        return [one.result() for one in waiting]

    def _wait(self, waiting: Sequence[Future[PictureAnswer]]) -> None:
        """Until all have come, so that one failure loses no other answer; then raise it."""
        failed: Exception | None = None
        for one in waiting:
            error = one.exception()
            if isinstance(error, UsageError):
                raise error
            if isinstance(error, Exception):
                failed = failed or error
        if failed is not None:
            raise failed

    def _answer(self, image: Image, question: str) -> PictureAnswer:
        data = _jpeg(image)
        key = hashlib.sha256(data + question.encode()).hexdigest()
        if key in self._kept:
            return self._kept[key]
        content = [
            image_part(data, mime="image/jpeg"),
            {"type": "text", "text": f"{question}\n{_WORDS}"},
        ]
        for attempt in range(1, TRIES + 1):
            text = self.endpoint.ask([{"role": "user", "content": content}], schema=_SCHEMA)
            try:
                answer = text_to_answer(text)
                break
            except ValueError as error:
                if attempt == TRIES:
                    raise DataError(
                        f"{self.name} gave {TRIES} answers that are none to {question!r}, the last "
                        f"one: {error}"
                    ) from None
        self._kept[key] = answer
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return answer


def text_to_answer(text: str) -> PictureAnswer:
    """A model's words -> its answer. Raises ValueError when they are none."""
    value = answer_to_json(text, schema=_READ)
    agrees, reason = value["agrees"], value.get("reason")
    if isinstance(agrees, str):
        agrees = agrees.lstrip(string.punctuation + string.whitespace).lower()[:1] in ("y", "t")
    return PictureAnswer(bool(agrees), to_stored(reason) if isinstance(reason, str) else "")


def _jpeg(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()

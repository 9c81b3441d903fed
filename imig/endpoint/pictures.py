"""Questions about many pictures, put to an endpoint at once."""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Generic, TypeVar

from PIL.Image import Image

from imig.endpoint.endpoint import Endpoint, image_part
from imig.errors import UsageError
from imig.recipe.parts import EndpointConfig

KEPT: Final = 512
"""Answers that are remembered: a batch in which one question fails is asked again one by one."""
_JPEG_QUALITY: Final = 92

Answer = TypeVar("Answer")


class PictureAsker(Generic[Answer]):
    """As many questions under way as the endpoint's `concurrency` says.

    Parameters are those of `imig.endpoint.endpoint.Endpoint`.
    """

    def __init__(self, config: EndpointConfig, *, name: str, clients: int = 1) -> None:
        self.endpoint = Endpoint(config, name=name, clients=clients)
        self.name = self.endpoint.model_name
        self._kept: OrderedDict[str, Answer] = OrderedDict()
        self._pool = ThreadPoolExecutor(config.concurrency, thread_name_prefix="imig-ask")

    def ask_all(
        self,
        images: Sequence[Image],
        questions: Sequence[str],
        ask: Callable[[Mapping[str, Any], str], Answer],
    ) -> list[Answer]:
        """An answer for each picture and its question, in their order.

        Parameters
        ----------
        ask:
            From the picture, as a part of a message's content, and the question to the answer. What
            it raises is raised when all answers have come.
        """
        waiting = [
            self._pool.submit(self._ask, image, question, ask)
            for image, question in zip(images, questions, strict=True)
        ]
        try:
            _wait(waiting)
        finally:
            for one in waiting:
                one.cancel()
        return [one.result() for one in waiting]

    def _ask(
        self, image: Image, question: str, ask: Callable[[Mapping[str, Any], str], Answer]
    ) -> Answer:
        data = _jpeg(image)
        # Put in another way, the same question is another one.
        way = getattr(ask, "__qualname__", "")
        key = hashlib.sha256(data + f"{way}\0{question}".encode()).hexdigest()
        # In one step: another thread may let go of the oldest between two.
        if (kept := self._kept.get(key)) is not None:
            return kept
        answer = self._kept[key] = ask(image_part(data, mime="image/jpeg"), question)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return answer


def _wait(waiting: Sequence[Future[Any]]) -> None:
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


def _jpeg(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()

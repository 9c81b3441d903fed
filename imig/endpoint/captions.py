"""Captions with the objects in them, by an endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL.Image import Image

from imig.endpoint.errors import RequestRefused
from imig.endpoint.pictures import PictureAsker
from imig.models.describing import SCHEMA, DescribingCaptioner, Interview, description_question
from imig.models.protocols import Description


class EndpointCaptioner(PictureAsker[Description], DescribingCaptioner):
    """A `PhraseCaptioner`: as many pictures under way as the endpoint's `concurrency` says."""

    def describe(
        self, images: Sequence[Image], *, instruction: str, max_phrases: int
    ) -> list[Description]:
        """As `imig.models.protocols.PhraseCaptioner`; no caption where the model refuses a picture.

        Raises UsageError for a wrong URL, key or model; DataError when an answer cannot be had.
        """

        def describe(picture: Mapping[str, Any], question: str) -> Description:
            return self._hold(Interview(question, max_phrases=max_phrases), picture)

        question = description_question(instruction, max_phrases=max_phrases)
        return self.ask_all(images, [question] * len(images), describe)

    def _hold(self, interview: Interview, picture: Mapping[str, Any]) -> Description:
        while not interview.done:
            try:
                answer = self.endpoint.ask(_messages(picture, interview.turns), schema=SCHEMA)
            except RequestRefused as refusal:
                if refusal.parameter != "content":
                    raise
                interview.give_up(refusal.message)
            else:
                interview.hear(answer)
        return interview.description()


def _messages(picture: Mapping[str, Any], turns: Sequence[str]) -> list[dict[str, Any]]:
    """The turns as messages of the protocol, the picture before the first one's words."""
    first, *others = turns
    content = [picture, {"type": "text", "text": first}]
    roles = ("assistant", "user")
    return [
        {"role": "user", "content": content},
        *({"role": roles[n % 2], "content": turn} for n, turn in enumerate(others)),
    ]

"""Prompts in place of pictures: the stage `draw` makes the pictures."""

from __future__ import annotations

from imig.recipe import PromptsSource
from imig.sample import Sample
from imig.schema import Source
from imig.stages.sources.base import SourceKind


class Prompts(SourceKind):
    """The lines of a file of prompts."""

    def __init__(self, config: PromptsSource) -> None:
        self._config = config

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"caption", "nouns"})

    def count(self) -> int:
        return self._config.count or 0

    def record(self, number: int, *, seed: int) -> Source:
        raise NotImplementedError

    def fill(self, sample: Sample, number: int) -> None:
        raise NotImplementedError

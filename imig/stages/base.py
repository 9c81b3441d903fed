"""What every stage is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from imig.sample import Sample
from imig.schema import ModelRecord, Subset


@dataclass(frozen=True)
class BuildContext:
    """What a stage may know about the build it is part of."""

    recipe_seed: int
    subset: Subset
    output: Path | None = None
    """The dataset's folder, where the build has one."""


class Stage(ABC):
    """A step that takes a batch of samples and returns the same samples, changed in place.

    A stage is constructed cheaply on the driver (the plan reads its declarations), sent to a
    worker, and loads its models there in `setup`. It never adds, drops or reorders samples: it
    turns one down with `Sample.turn_down`. It may raise; the engine then finds the sample that made
    it raise.

    `reads` and `writes` are checked before anything runs. Their words: ``target``, ``caption``,
    ``nouns``, ``subjects`` (what is to be drawn, each alone), ``drawn views`` and ``edited views``
    (their subjects not found yet), ``views`` (found), ``boxes``, ``masks``, ``references``,
    ``scores``, ``verdict``. They may depend on recipe and subset (a list of images has captions or
    has none), so ask the instance, not the class.
    """

    name: ClassVar[str]
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()

    def __init__(self, context: BuildContext) -> None:
        self.context = context

    def setup(self) -> None:  # noqa: B027 - most stages have nothing to load
        """Load models; called once, in the worker."""

    def models(self) -> list[ModelRecord]:
        """The models that `setup` loads, for the manifest; known without loading them."""
        return []

    def skipped(self) -> str | None:
        """Why this stage can do nothing on this machine and passes samples on untouched, or None.

        Asked on the driver, before anything runs; the plan and the manifest say it. May raise
        UsageError.
        """
        return None

    @abstractmethod
    def __call__(self, samples: list[Sample]) -> list[Sample]: ...

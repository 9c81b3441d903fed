"""What a picture was to show: the cases that metrics measure pictures against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from imig.layout.placement import Rectangle

Mask = NDArray[np.bool_]

Kind = Literal["object", "person"]
"""Of an instance; benchmarks measure people by their faces."""


@dataclass(frozen=True)
class CaseReference:
    """A picture that was given of an identity; it is read when a metric asks for it."""

    name: str
    """For messages: of the file, or of the reference in its scene."""
    read: Callable[[], tuple[Image, Mask | None]] = field(repr=False, compare=False)
    """RGB, and a mask of the subject as large, or None: all of it. Raises DataError."""


@dataclass(frozen=True)
class CaseInstance:
    """A subject that the picture was to show."""

    phrase: str
    """In full, "striped red mug"."""
    noun: str = ""
    """The thing alone, "mug"; empty: nobody says."""
    box: Rectangle | None = None
    """Where, in pixels of a picture of the case's size; None where nobody asked for a place."""
    kind: Kind = "object"
    attributes: Mapping[str, str] = field(default_factory=dict)
    """What was asked for beside the thing, "colour" -> "red"."""
    references: tuple[CaseReference, ...] = ()
    """Views of its identity that were given; the first one is what it is compared with."""
    read_truth: Callable[[], tuple[Image, Mask]] | None = field(
        default=None, repr=False, compare=False
    )
    """The subject in the true picture: cut out of it (RGB) with its mask; where there is one."""

    @property
    def thing(self) -> str:
        """The noun, or the phrase where there is none: what is looked for."""
        return self.noun or self.phrase


@dataclass(frozen=True)
class Question:
    """Asked about a picture, and answered yes or no."""

    text: str
    answer: bool = True
    """The right one."""
    topic: str = ""
    """What it is about ("colour", "relation"); benchmarks average by it."""


@dataclass(frozen=True)
class Case:
    """What one picture, or several of different seeds, was to show."""

    id: str
    """Also of its pictures' files."""
    caption: str
    size: tuple[int, int]
    """(width, height) to which boxes refer, in pixels; pictures are looked at in this size."""
    instances: tuple[CaseInstance, ...]
    group: str = ""
    """Of a benchmark's levels or parts, "L2"; figures are given for each, too."""
    questions: tuple[Question, ...] = ()
    read_target: Callable[[], Image] | None = field(default=None, repr=False, compare=False)
    """The true picture (RGB), where there is one."""


class Against(Protocol):
    """Where cases come from: a dataset, a folder of layouts, a benchmark."""

    kind: str
    """`shards`, `layouts`, or the benchmark's name."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Case]:
        """Cases in the order of their ids. Raises DataError for one that cannot be read."""
        ...

    def case_of(self, stem: str) -> str | None:
        """The id of the case that a picture's file name, without its ending, belongs to."""
        ...

    def record(self) -> dict[str, Any]:
        """JSON values that pin the cases: kind, place, checksum, count."""
        ...

"""What a picture was to show: the cases that metrics measure pictures against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from imig.evaluation.paper_table import PaperTable
from imig.layout.placement import Rectangle, scaled

Mask = NDArray[np.bool_]

Kind = Literal["object", "person"]
"""Of an instance; benchmarks measure people by their faces."""

Resampling = Literal["lanczos", "linear"]
"""linear: between the four nearest pixels however much smaller it gets, as OpenCV does by default;
evaluators that were written with it see aliased pictures, and their figures come from these."""


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
    any_size: bool = False
    """Pictures are looked at in the size that they have, to which boxes are scaled (`in_size`)."""
    resampling: Resampling = "lanczos"
    """How a picture of another size is brought to it."""
    group: str = ""
    """Of a benchmark's levels or parts, "L2"; figures are given for each, too."""
    questions: tuple[Question, ...] = ()
    read_target: Callable[[], Image] | None = field(default=None, repr=False, compare=False)
    """The true picture (RGB), where there is one."""
    seed: int | None = None
    """Of the noise of its first picture; None: whatever `imig bench` makes of its id."""

    def in_size(self, size: tuple[int, int]) -> Case:
        """The same case for a picture of another (width, height)."""
        if size == self.size:
            return self
        scale = size[0] / self.size[0], size[1] / self.size[1]
        instances = tuple(
            one if one.box is None else replace(one, box=scaled(one.box, scale))
            for one in self.instances
        )
        return replace(self, size=size, instances=instances)


class Against(Protocol):
    """Where cases come from: a dataset, a folder of layouts, a benchmark."""

    kind: str
    """`shards`, `layouts`, or the benchmark's name."""

    @property
    def table(self) -> PaperTable | None:
        """What the benchmark's papers print; None where there is no benchmark."""
        ...

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

"""What every kind of source is."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence

from imig.errors import UsageError
from imig.recipe import FolderSource, ListSource, WebdatasetSource
from imig.sample import Sample
from imig.schema import ModelRecord, Source
from imig.stages.pictures import PictureError, bytes_to_target

PixelLimits = FolderSource | ListSource | WebdatasetSource
"""The recipe blocks that carry `min_side`, `max_side` and `max_pixels`."""

STAGE = "source"


class SourceError(UsageError):
    """What is wrong with a source; the plan adds the recipe's line."""

    def __init__(self, message: str, *, cure: str = "", key: str = "source.path") -> None:
        super().__init__(message, cure=cure)
        self.key = key
        """The key of the recipe that is at fault."""


class SourceKind(ABC):
    """A numbered list of pictures, in an order that depends on nothing but the pictures.

    It is constructed on the driver and sent to workers with what it has listed, so that all of
    them mean the same picture by a number.
    """

    @property
    def writes(self) -> frozenset[str]:
        """What it fills in; words as in `imig.stages.base.Stage`."""
        return frozenset({"target"})

    @abstractmethod
    def count(self) -> int:
        """How many pictures there are; opens none of them.

        Raises UsageError when there are none, or the recipe's path is wrong.
        """

    @abstractmethod
    def record(self, number: int, *, seed: int) -> Source:
        """Where picture `number` comes from, as far as it is known before reading it."""

    def fingerprint(self) -> str:
        """Hash of the listing: the same as long as every number means the same picture."""
        digest = hashlib.sha256()
        for number in range(self.count()):
            digest.update(f"{self.record(number, seed=0).path}\n".encode())
        return digest.hexdigest()

    def models(self) -> list[ModelRecord]:
        """Models that took part before the build; most sources have none."""
        return []

    def describe(self) -> list[str]:
        """Lines for `imig build --plan`: what was understood, with the first samples.

        May open those. No markup, nothing that is not printable.
        """
        return []

    def remarks(self) -> list[str]:
        """What is odd about the listing, a line for each kind, counted, the first ones named.

        For the plan, the start of a build and its report.
        """
        return []

    @abstractmethod
    def fill(self, sample: Sample, number: int) -> None:
        """Set target, size, and caption, nouns and style where it has them; or turn it down."""


def fill_from_bytes(sample: Sample, data: bytes, limits: PixelLimits) -> None:
    """Make the bytes of a picture the sample's target, or turn the sample down."""
    sample.scene.source.sha256 = hashlib.sha256(data).hexdigest()
    try:
        target = bytes_to_target(
            data,
            min_side=limits.min_side,
            max_side=limits.max_side,
            max_pixels=limits.max_pixels,
        )
    except PictureError as error:
        sample.turn_down(stage=STAGE, reason=error.reason, figures=error.figures)
        return
    sample.files[sample.scene.target] = target.data
    sample.scene.width, sample.scene.height = target.width, target.height


def fill_text(sample: Sample, *, caption: str, nouns: Sequence[str]) -> None:
    """Set caption and noun phrases, white space normalised, empty ones left out."""
    sample.scene.caption = " ".join(caption.split())
    phrases = (" ".join(noun.split()) for noun in nouns)
    sample.scene.nouns = list(dict.fromkeys(phrase for phrase in phrases if phrase))


def bytes_to_text(data: bytes) -> str:
    """A caption file's bytes -> text: UTF-8 with or without a mark; other bytes become U+FFFD."""
    return data.decode("utf-8-sig", errors="replace")


def printable_path(path: str) -> str:
    """A path that JSON can hold: bytes of the name that are not UTF-8 become ``\\xNN``."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    """A name for a person's screen: what no screen shows is written as its escape."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode()
        for one in printable_path(text)
    )

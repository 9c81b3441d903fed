"""What every kind of source is."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from imig.errors import DataError, UsageError
from imig.printable import to_printable
from imig.sample import Sample
from imig.schema import MAX_CAPTION, MAX_INSTANCES, MAX_LICENCE, MAX_TEXT, ModelRecord, Source
from imig.stages.base import Word
from imig.stages.pictures import PictureError, Target, bytes_to_target, unread_cures
from imig.stages.sources.config import (
    CocoSource,
    FolderSource,
    ListSource,
    WebdatasetSource,
    YoloSource,
)
from imig.stores.path import OutputPath
from imig.text import bytes_to_text, first_of_alike, to_stored

PixelLimits = FolderSource | ListSource | WebdatasetSource | CocoSource | YoloSource
"""The recipe blocks that carry `min_side`, `max_side` and `max_pixels`."""

STAGE = "source"
BLANK_PHRASE = "phrase that shows nothing"
"""An oddity: blanks, or characters without width; it is left out."""
UNDECODABLE_CAPTION = "undecodable caption"
"""An oddity: the picture is used, as one without a caption."""
UNUSABLE_CAPTION = "caption left out"
"""An oddity: its file is no regular file, or too large."""
LONG_CAPTION = f"caption of more than {MAX_CAPTION} characters cut"
"""An oddity, as are the next ones: the largest sizes are those of `imig.schema`."""
LONG_PHRASE = f"phrase of more than {MAX_TEXT} characters left out"
MANY_PHRASES = f"phrases beyond the first {MAX_INSTANCES} left out"
LONG_LICENCE = f"licence of more than {MAX_LICENCE} characters cut"
UNREADABLE_JSON = "unreadable JSON"
"""An oddity: what a sample's JSON says is not known."""
SHOWN: Final = 3
"""Names that a remark gives."""


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
    def writes(self) -> frozenset[Word]:
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

    def missing(self, stop: int) -> int:
        """How many of the first `stop` pictures are known not to be there."""
        return 0

    def folders(self) -> list[Path]:
        """Folders whose whole content is listed: nothing may be written into them."""
        return []

    def files(self) -> Sequence[OutputPath]:
        """Files that are read: the output's folder may hold none of them."""
        return []

    def can_open(self, number: int) -> bool:
        """Whether the system gives picture `number` now; see `imig.errors.CannotOpenError`."""
        return True

    @abstractmethod
    def fill(self, sample: Sample, number: int) -> None:
        """Set target, size, and caption, nouns and style where it has them; or turn it down.

        Raises
        ------
        CannotOpenError
            The system does not give the picture, which is no fault of the picture.
        SourceLostError
            The whole source is gone, or is another: the build stops.
        """


def fill_from_bytes(sample: Sample, data: bytes, limits: PixelLimits) -> Target | None:
    """Make the bytes of a picture the sample's target; None: the sample is turned down."""
    sample.scene.source.sha256 = hashlib.sha256(data).hexdigest()
    try:
        target = bytes_to_target(
            data,
            min_side=limits.min_side,
            max_side=limits.max_side,
            max_pixels=limits.max_pixels,
        )
    except PictureError as error:
        turn_down(sample, error)
        return None
    for oddity in target.oddities:
        sample.note_oddity(oddity, "")
    sample.files[sample.scene.target] = target.data
    sample.scene.width, sample.scene.height = target.width, target.height
    return target


def turn_down(sample: Sample, error: PictureError) -> None:
    """Reject the scene whose picture cannot be used."""
    sample.turn_down(stage=STAGE, reason=error.reason, figures=error.figures)


def fill_text(sample: Sample, *, caption: str, nouns: Sequence[str]) -> None:
    """Set caption and noun phrases: mended, white space normalised.

    Phrases that show nothing are left out (an oddity, `BLANK_PHRASE`), as are those that read like
    an earlier one. What is longer, or more, than a scene may have is cut (an oddity too).
    """
    stored = to_stored(caption)
    if len(stored) > MAX_CAPTION:
        sample.note_oddity(LONG_CAPTION, f"{len(stored)} characters")
        stored = to_stored(stored[:MAX_CAPTION].rpartition(" ")[0] or stored[:MAX_CAPTION])
    sample.scene.caption = stored[:MAX_CAPTION]
    phrases = []
    for noun in nouns:
        phrase = to_stored(noun)
        if not phrase:
            sample.note_oddity(BLANK_PHRASE, ascii(noun)[:60])
        elif len(phrase) > MAX_TEXT:
            sample.note_oddity(LONG_PHRASE, f"{ascii(phrase)[:40]}.. of {len(phrase)} characters")
        else:
            phrases.append(phrase)
    phrases = first_of_alike(phrases)
    if len(phrases) > MAX_INSTANCES:
        sample.note_oddity(MANY_PHRASES, f"{len(phrases)}")
    sample.scene.nouns = phrases[:MAX_INSTANCES]


def caption_from_bytes(sample: Sample, data: bytes, *, where: str) -> str:
    """The caption in a text file or member; "" where it is in no encoding that is known.

    The picture is sound: it is used without a caption, which the report counts by
    `UNDECODABLE_CAPTION`, with `where` (no path of this machine: reports may go far) and the byte.
    """
    try:
        return bytes_to_text(data, where=where)
    except DataError as error:
        sample.note_oddity(UNDECODABLE_CAPTION, error.message)
        return ""


def set_licence(sample: Sample, stated: str) -> None:
    """What a picture's own record says of its licence, where it says something.

    White space is normalised; what is longer than a licence may be is cut (an oddity).
    """
    licence = to_stored(stated)
    if len(licence) > MAX_LICENCE:
        sample.note_oddity(LONG_LICENCE, f"{len(licence)} characters")
        licence = licence[:MAX_LICENCE].rstrip()
    if licence:
        sample.scene.source.licence = licence


def printable_path(path: str) -> str:
    """A path that JSON can hold: bytes of the name that are not UTF-8 become ``\\xNN``."""
    try:
        data = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # halves of characters, from an escape in JSON
        data = path.encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    """A name for a person's screen: what no screen shows is written as its escape."""
    return to_printable(printable_path(text))


def name_some(names: Sequence[str]) -> str:
    """The first few names, for a remark: ``a, b, c, ..``."""
    return ", ".join(map(printable, names[:SHOWN])) + (", .." if len(names) > SHOWN else "")


def unread_to_remark(counts: Mapping[str, int]) -> list[str]:
    """``12 files of kinds that are not read: .heic (12): pip install ..``; none without files."""
    if not counts:
        return []
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    kinds = ", ".join(f"{suffix} ({count:,})" for suffix, count in ranked)
    cure = unread_cures(counts)
    total = sum(counts.values())
    return [
        f"{total:,} file{'s' * (total != 1)} of kinds that are not read: {kinds}"
        + (f": {cure}" if cure else "")
    ]

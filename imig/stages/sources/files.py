"""Pictures from a folder."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from imig.errors import CannotOpenError, DataError, UsageError
from imig.paths import input_path
from imig.sample import Sample
from imig.schema import Source
from imig.stages.base import Word
from imig.stages.pictures import PictureError, picture_suffixes
from imig.stages.sources.base import (
    UNUSABLE_CAPTION,
    SourceKind,
    caption_from_bytes,
    fill_from_bytes,
    fill_text,
    name_some,
    printable,
    printable_path,
    turn_down,
)
from imig.stages.sources.config import FolderSource, ListSource
from imig.stages.sources.folder_listing import FolderListing, list_folder
from imig.stages.sources.opening import (
    MAX_TEXT_BYTES,
    can_open,
    max_bytes,
    read_listed_file,
    require_some,
    spread,
)


class FolderPictures(SourceKind):
    """Every picture below a folder, sorted by path; hidden files and folders are left out."""

    def __init__(self, config: FolderSource) -> None:
        self._config = config
        self._folder = input_path(config.path)
        if not os.path.isdir(self._folder):
            raise UsageError(f"{self._folder} is not a folder", cure=_cure_for_file(self._folder))

    @cached_property
    def _listing(self) -> FolderListing:
        return list_folder(self._folder, recursive=self._config.recursive)

    @property
    def _paths(self) -> list[str]:
        return self._listing.paths

    @property
    def writes(self) -> frozenset[Word]:
        return frozenset({"target", "caption"} if self._listing.captioned else {"target"})

    def count(self) -> int:
        listing = self._listing
        if not listing.paths and listing.unreadable:
            raise DataError(
                f"no pictures in {self._folder} could be listed; folders that cannot be read: "
                f"{len(listing.unreadable)} ({name_some(listing.unreadable)})",
                cure="make them readable for you, and run the same command again",
            )
        if not listing.paths:
            suffixes = " ".join(sorted(picture_suffixes()))
            raise UsageError(
                f"no pictures in {self._folder}",
                cure="; ".join([*listing.remarks(), f"a picture's name ends in one of {suffixes}"]),
            )
        if len(listing.dangling) == len(listing.paths):
            raise DataError(
                f"all {len(listing.paths)} pictures in {self._folder} are links that lead to no "
                f"file, the first being {printable(listing.paths[0])}",
                cure="bring back what they lead to (is the disk mounted? was the content fetched?)",
            )
        return len(listing.paths)

    def describe(self) -> list[str]:
        first = ", ".join(map(printable, self._paths[:3]))
        texts = len(self._listing.captioned)
        return [f"{len(self._paths):,} pictures, {texts:,} with a caption (.txt); first: {first}"]

    def remarks(self) -> list[str]:
        return self._listing.remarks()

    def missing(self, stop: int) -> int:
        dangling = set(self._listing.dangling)
        return sum(path in dangling for path in self._paths[:stop]) if dangling else 0

    def folders(self) -> list[Path]:
        return [self._folder]

    def can_open(self, number: int) -> bool:
        path = self._folder / self._paths[number]
        captioned = self._paths[number] in self._listing.captioned
        return can_open(path) and (not captioned or can_open(path.with_suffix(".txt")))

    def record(self, number: int, *, seed: int) -> Source:
        return Source(kind="file", path=printable_path(self._paths[number]))

    def fill(self, sample: Sample, number: int) -> None:
        listed = self._paths[number]
        path = self._folder / listed
        try:
            if not fill_from_file(sample, path, self._config, shown=printable(listed)):
                return
            if listed not in self._listing.captioned:
                return
            where = printable_path(str(Path(listed).with_suffix(".txt")))
            data = read_listed_file(path.with_suffix(".txt"), shown=where, limit=MAX_TEXT_BYTES)
        except PictureError as error:
            sample.note_oddity(UNUSABLE_CAPTION, f"{where}: {error}")
            return
        except CannotOpenError:
            self._require_folder()
            raise
        fill_text(sample, caption=caption_from_bytes(sample, data, where=where), nouns=())

    def _require_folder(self) -> None:
        """Raise SourceLostError when nothing of the listing is there any more."""
        numbers = spread(range(len(self._paths)))
        paths = [self._folder / self._paths[number] for number in numbers]
        require_some(paths, what=f"picture below {self._folder}")


def _cure_for_file(path: Path) -> str:
    """What to give instead of something that is no folder."""
    kind = {".tar": "webdataset", ".txt": "list", ".jsonl": "list"}.get(path.suffix.lower())
    if kind is not None and path.is_file():
        return f"if it is what its name says, its kind is another: --set source.kind={kind}"
    where = "is the disk mounted? else " if not os.path.lexists(path) else ""
    return f"{where}give the folder that holds the pictures: --set source.path=FOLDER"


def fill_from_file(
    sample: Sample, path: Path, config: FolderSource | ListSource, *, shown: str
) -> bool:
    """Whether the file became the sample's target; if not, the sample is turned down.

    Raises CannotOpenError, which calls the file `shown`.
    """
    try:
        data = read_listed_file(path, shown=shown, limit=max_bytes(config.max_pixels))
    except PictureError as error:
        turn_down(sample, error)
        return False
    fill_from_bytes(sample, data, config)
    return sample.reject is None

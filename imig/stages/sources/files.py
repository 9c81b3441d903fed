"""Pictures from a folder, or from a file that lists them."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from imig.errors import CannotOpenError, DataError, UsageError
from imig.paths import input_path, is_address
from imig.recipe import FolderSource, ListSource
from imig.regular_file import read_regular_file
from imig.sample import Sample
from imig.schema import Source
from imig.stages.pictures import UNREAD_SUFFIXES, PictureError, picture_suffixes
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
    unread_to_remark,
)
from imig.stages.sources.folder_listing import FolderListing, list_folder
from imig.stages.sources.opening import (
    MAX_TEXT_BYTES,
    can_open,
    is_there,
    max_bytes,
    read_listed_file,
    require_some,
    spread,
)
from imig.text import Line, bytes_to_lines


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
    def writes(self) -> frozenset[str]:
        return frozenset({"target", "caption"} if self._listing.captioned else {"target"})

    def count(self) -> int:
        listing = self._listing
        if not listing.paths and listing.unreadable:
            raise DataError(
                f"no pictures in {self._folder} could be listed: {len(listing.unreadable)} "
                f"folders cannot be read ({name_some(listing.unreadable)})",
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
            if not _fill_from_file(sample, path, self._config, shown=printable(listed)):
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
    return "give the folder that holds the pictures: --set source.path=FOLDER"


@dataclass(frozen=True)
class _Entry:
    """One line of a list."""

    path: str
    """As its bytes stand in the list: names on a disk need be neither UTF-8 nor NFC."""
    decoded: str = ""
    """The path as it reads where the list is in another encoding; else equal to `path`."""
    caption: str = ""
    nouns: tuple[str, ...] = ()
    line: int = 0
    """Its number in the list, from 1."""


class ListedPictures(SourceKind):
    """Pictures named in a text file, in its order; see `imig.recipe.ListSource`.

    Relative paths start at the list's folder. Empty lines and lines that start with ``#`` say
    nothing. A path is taken byte for byte; where there is no such file, as it reads in the list's
    encoding, composed (NFC) or decomposed (NFD).
    """

    def __init__(self, config: ListSource) -> None:
        self._config = config
        self._list = input_path(config.path)
        if not os.path.isfile(self._list):
            raise UsageError(
                f"{self._list} is not a file",
                cure="give a text file with the path of one picture a line",
            )

    @cached_property
    def _entries(self) -> list[_Entry]:
        return [
            self._line_to_entry(line)
            for line in self._lines()
            if line.text.strip() and not line.text.lstrip().startswith("#")
        ]

    def _lines(self) -> list[Line]:
        try:
            return bytes_to_lines(read_regular_file(self._list), where=str(self._list))
        except OSError as error:
            raise UsageError(f"cannot read {self._list}: {error.strerror or error}") from error
        except DataError as error:
            raise UsageError(error.message, cure=error.cure) from error

    def _line_to_entry(self, listed: Line) -> _Entry:
        line, number = listed.text.strip(), listed.number
        if not line.startswith("{"):
            entry = _Entry(os.fsdecode(listed.data.strip()), line, line=number)
            return self._checked(entry, number)
        cure = 'a line is a path, or {"path": "..", "caption": "..", "nouns": ["..", ".."]}'
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self._list}:{number}: not JSON: {error}", cure=cure) from error
        path, caption = values.get("path"), values.get("caption") or ""
        nouns = values.get("nouns") or []
        unknown = sorted(set(values) - {"path", "caption", "nouns"})
        if unknown:
            raise UsageError(f"{self._list}:{number}: unknown key {unknown[0]!r}", cure=cure)
        if not (path and isinstance(path, str)) or not isinstance(caption, str):
            raise UsageError(f"{self._list}:{number}: path and caption are strings", cure=cure)
        if not isinstance(nouns, list) or not all(isinstance(noun, str) for noun in nouns):
            raise UsageError(f"{self._list}:{number}: nouns is a list of strings", cure=cure)
        return self._checked(_Entry(path, path, caption, tuple(nouns), number), number)

    def _checked(self, entry: _Entry, number: int) -> _Entry:
        try:
            _listed_path(entry.path, beside=self._list)
        except UsageError as error:
            raise UsageError(f"{self._list}:{number}: {error.message}", cure=error.cure) from error
        return entry

    def _path(self, entry: _Entry) -> Path:
        wordings = (
            entry.path,
            entry.decoded,
            unicodedata.normalize("NFC", entry.decoded),
            unicodedata.normalize("NFD", entry.decoded),
        )
        paths = [
            self._list.parent / _listed_path(one, beside=self._list)
            for one in dict.fromkeys(wordings)
        ]
        return next((path for path in paths if is_there(path)), paths[0])

    @property
    def writes(self) -> frozenset[str]:
        written = {"target"}
        if any(entry.caption for entry in self._entries):
            written.add("caption")
        if any(entry.nouns for entry in self._entries):
            written.add("nouns")
        return frozenset(written)

    def count(self) -> int:
        if not self._entries:
            raise UsageError(f"{self._list} names no picture")
        if len(self._missing) == len(self._entries):
            raise DataError(
                f"none of the {len(self._entries)} files that {self._list} names is "
                f"there, the first being {printable(str(self._path(self._entries[0])))}",
                cure=f"paths are absolute or relative to {self._list.parent}; is the disk mounted?",
            )
        return len(self._entries)

    @cached_property
    def _missing(self) -> list[int]:
        """Numbers of the entries that are not there, when the build is planned."""
        return [
            number
            for number, entry in enumerate(self._entries)
            if not os.path.exists(self._path(entry))
        ]

    def remarks(self) -> list[str]:
        remarks = []
        if self._missing:
            named = [self._entries[number] for number in self._missing]
            first = name_some([f"line {one.line}: {one.path}" for one in named])
            remarks.append(
                f"listed pictures that are not there, whose scenes will be quarantined: "
                f"{len(named):,} of {len(self._entries):,} ({first})"
            )
        suffixes = Counter(os.path.splitext(one.path)[1].lower() for one in self._entries)
        read = picture_suffixes()
        unread = {one: n for one, n in suffixes.items() if one in UNREAD_SUFFIXES - read}
        return [*remarks, *unread_to_remark(unread)]

    def missing(self, stop: int) -> int:
        return bisect_left(self._missing, stop)

    def files(self) -> list[Path]:
        listed = (_listed_path(entry.path, beside=self._list) for entry in self._entries)
        return [self._list, *sorted({self._list.parent / one.parent for one in listed})]

    def can_open(self, number: int) -> bool:
        return can_open(self._path(self._entries[number]))

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for entry in self._entries:
            values = [printable_path(entry.path), entry.caption, entry.nouns]
            digest.update(f"{json.dumps(values)}\n".encode())
        return digest.hexdigest()

    def describe(self) -> list[str]:
        captions = sum(bool(entry.caption) for entry in self._entries)
        nouns = sum(bool(entry.nouns) for entry in self._entries)
        first = ", ".join(printable(entry.path) for entry in self._entries[:3])
        return [
            f"{len(self._entries):,} pictures, {captions:,} with a caption, {nouns:,} with nouns; "
            f"first: {first}"
        ]

    def record(self, number: int, *, seed: int) -> Source:
        return Source(kind="file", path=printable_path(self._entries[number].path))

    def fill(self, sample: Sample, number: int) -> None:
        entry = self._entries[number]
        shown = printable(entry.path)
        try:
            if _fill_from_file(sample, self._path(entry), self._config, shown=shown):
                fill_text(sample, caption=entry.caption, nouns=entry.nouns)
        except CannotOpenError:
            self._require_files()
            raise

    def _require_files(self) -> None:
        """Raise SourceLostError when nothing of what was there is there any more."""
        missing = set(self._missing)
        there = [number for number in range(len(self._entries)) if number not in missing]
        paths = [self._path(self._entries[number]) for number in spread(there)]
        require_some(paths, what=f"picture that {self._list} names")


def _listed_path(path: str, *, beside: Path) -> Path:
    """As the list has it, but for ``~`` and ``~user``; a file's name may begin with ``~`` too.

    Raises UsageError for an address (``https://..``) and an unknown home.
    """
    looks_like_a_file = not path.startswith("~") and not is_address(path)
    if looks_like_a_file or os.path.exists(beside.parent / path):
        return Path(path)
    return input_path(path)


def _fill_from_file(
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

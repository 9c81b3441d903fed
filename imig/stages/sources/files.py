"""Pictures from a folder, or from a file that lists them."""

from __future__ import annotations

import json
import os
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from imig.errors import DataError, UsageError
from imig.paths import input_path, is_address
from imig.regular_file import read_regular_file
from imig.sample import Sample
from imig.schema import Source
from imig.stages.base import Word
from imig.stages.pictures import PICTURE_SUFFIXES
from imig.stages.sources.base import (
    STAGE,
    SourceKind,
    caption_from_bytes,
    fill_from_bytes,
    fill_text,
    printable,
    printable_path,
)
from imig.stages.sources.config import FolderSource, ListSource
from imig.text import Line, bytes_to_lines


class FolderPictures(SourceKind):
    """Every picture below a folder, sorted by path; hidden files and folders are left out."""

    def __init__(self, config: FolderSource) -> None:
        self._config = config
        self._folder = input_path(config.path)
        if not self._folder.is_dir():
            raise UsageError(
                f"{self._folder} is not a folder",
                cure="give the folder that holds the pictures: --set source.path=FOLDER",
            )

    @cached_property
    def _paths(self) -> list[str]:
        """Relative to the folder, with forward slashes."""
        found: list[str] = []
        for folder, subfolders, names in os.walk(self._folder):
            keep = self._config.recursive
            subfolders[:] = [name for name in subfolders if keep and not name.startswith(".")]
            below = Path(folder).relative_to(self._folder)
            found += [
                (below / name).as_posix()
                for name in names
                if not name.startswith(".") and Path(name).suffix.lower() in PICTURE_SUFFIXES
            ]
        return sorted(found)

    @property
    def writes(self) -> frozenset[Word]:
        captioned = any((self._folder / path).with_suffix(".txt").is_file() for path in self._paths)
        return frozenset({"target", "caption"} if captioned else {"target"})

    def count(self) -> int:
        if not self._paths:
            raise UsageError(
                f"no pictures in {self._folder}",
                cure=f"a picture's name ends in one of {' '.join(sorted(PICTURE_SUFFIXES))}",
            )
        return len(self._paths)

    def describe(self) -> list[str]:
        texts = sum((self._folder / path).with_suffix(".txt").is_file() for path in self._paths)
        first = ", ".join(map(printable, self._paths[:3]))
        return [f"{len(self._paths):,} pictures, {texts:,} with a caption (.txt); first: {first}"]

    def record(self, number: int, *, seed: int) -> Source:
        return Source(kind="file", path=printable_path(self._paths[number]))

    def fill(self, sample: Sample, number: int) -> None:
        path = self._folder / self._paths[number]
        if not _fill_from_file(sample, path, self._config):
            return
        try:
            data = read_regular_file(path.with_suffix(".txt"))
        except OSError:
            return  # most pictures have none
        where = printable_path(str(Path(self._paths[number]).with_suffix(".txt")))
        fill_text(sample, caption=caption_from_bytes(sample, data, where=where), nouns=())


@dataclass(frozen=True)
class _Entry:
    """One line of a list."""

    path: str
    """As its bytes stand in the list: names on a disk need be neither UTF-8 nor NFC."""
    decoded: str = ""
    """The path as it reads where the list is in another encoding; else equal to `path`."""
    caption: str = ""
    nouns: tuple[str, ...] = ()


class ListedPictures(SourceKind):
    """Pictures named in a text file, in its order; see `imig.recipe.ListSource`.

    Relative paths start at the list's folder. Empty lines and lines that start with ``#`` say
    nothing. A path is taken byte for byte; where there is no such file, as it reads in the list's
    encoding, composed (NFC) or decomposed (NFD).
    """

    def __init__(self, config: ListSource) -> None:
        self._config = config
        self._list = input_path(config.path)
        if not self._list.is_file():
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
            return bytes_to_lines(self._list.read_bytes(), where=str(self._list))
        except DataError as error:
            raise UsageError(error.message, cure=error.cure) from error

    def _line_to_entry(self, listed: Line) -> _Entry:
        line, number = listed.text.strip(), listed.number
        if not line.startswith("{"):
            entry = _Entry(os.fsdecode(listed.data.strip()), line)
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
        return self._checked(_Entry(path, path, caption, tuple(nouns)), number)

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
        return next((path for path in paths if _is_there(path)), paths[0])

    @property
    def writes(self) -> frozenset[Word]:
        written: set[Word] = {"target"}
        if any(entry.caption for entry in self._entries):
            written.add("caption")
        if any(entry.nouns for entry in self._entries):
            written.add("nouns")
        return frozenset(written)

    def count(self) -> int:
        if not self._entries:
            raise UsageError(f"{self._list} names no picture")
        if not any(_is_there(self._path(entry)) for entry in self._entries):
            raise UsageError(
                f"none of the {len(self._entries)} files that {self._list} names is "
                f"there, the first being {self._path(self._entries[0])}",
                cure=f"paths are absolute or relative to {self._list.parent}",
            )
        return len(self._entries)

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
        if _fill_from_file(sample, self._path(entry), self._config):
            fill_text(sample, caption=entry.caption, nouns=entry.nouns)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with characters that no name has
        return False


def _listed_path(path: str, *, beside: Path) -> Path:
    """As the list has it, but for ``~`` and ``~user``; a file's name may begin with ``~`` too.

    Raises UsageError for an address (``https://..``) and an unknown home.
    """
    looks_like_a_file = not path.startswith("~") and not is_address(path)
    if looks_like_a_file or os.path.exists(beside.parent / path):
        return Path(path)
    return input_path(path)


def _fill_from_file(sample: Sample, path: Path, config: FolderSource | ListSource) -> bool:
    """Whether the file became the sample's target; if not, the sample is turned down."""
    try:
        data = read_regular_file(path)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        # No path in the figures: they may go to people who must not see this machine's folders.
        figures = {"error": f"{type(error).__name__}: {getattr(error, 'strerror', error)}"}
        sample.turn_down(stage=STAGE, reason="unreadable image", figures={**figures})
        return False
    fill_from_bytes(sample, data, config)
    return sample.reject is None

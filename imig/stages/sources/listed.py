"""Pictures from a file that lists them."""

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
from imig.regular_file import read_regular_file
from imig.sample import Sample
from imig.schema import Source
from imig.stages.base import Word
from imig.stages.pictures import UNREAD_SUFFIXES, picture_suffixes
from imig.stages.sources.base import (
    SourceKind,
    fill_text,
    name_some,
    printable,
    printable_path,
    set_licence,
    unread_to_remark,
)
from imig.stages.sources.config import ListSource
from imig.stages.sources.files import fill_from_file
from imig.stages.sources.opening import can_open, is_there, require_some, spread
from imig.text import Line, bytes_to_lines


@dataclass(frozen=True)
class _Entry:
    """One line of a list."""

    path: str
    """As its bytes stand in the list: names on a disk need be neither UTF-8 nor NFC."""
    decoded: str = ""
    """The path as it reads where the list is in another encoding; else equal to `path`."""
    caption: str = ""
    nouns: tuple[str, ...] = ()
    licence: str = ""
    line: int = 0
    """Its number in the list, from 1."""


class ListedPictures(SourceKind):
    """Pictures named in a text file, in its order; see `imig.stages.sources.config.ListSource`.

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
        licence = values.get("licence") or values.get("license") or ""
        known = {"path", "caption", "nouns", "licence", "license"}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UsageError(f"{self._list}:{number}: unknown key {unknown[0]!r}", cure=cure)
        if not (path and isinstance(path, str)) or not isinstance(caption, str):
            raise UsageError(f"{self._list}:{number}: path and caption are strings", cure=cure)
        if not isinstance(licence, str):
            raise UsageError(
                f"{self._list}:{number}: licence is a string", cure="an SPDX identifier, or a text"
            )
        if not isinstance(nouns, list) or not all(isinstance(noun, str) for noun in nouns):
            raise UsageError(f"{self._list}:{number}: nouns is a list of strings", cure=cure)
        return self._checked(_Entry(path, path, caption, tuple(nouns), licence, number), number)

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
        folder = str(self._list.parent)
        return [
            number
            for number, entry in enumerate(self._entries)
            # The first of the wordings that `_path` tries is nearly always the one.
            if not os.path.exists(os.path.join(folder, entry.path))
            and not os.path.exists(self._path(entry))
        ]

    def remarks(self) -> list[str]:
        remarks = []
        if self._missing:
            named = [self._entries[number] for number in self._missing]
            first = name_some([f"line {one.line}: {one.path}" for one in named])
            remarks.append(
                f"listed pictures that are not there, whose scenes are quarantined: "
                f"{len(named):,} of {len(self._entries):,} ({first})"
            )
        suffixes = Counter(os.path.splitext(one.path)[1].lower() for one in self._entries)
        read = picture_suffixes()
        unread = {one: n for one, n in suffixes.items() if one in UNREAD_SUFFIXES - read}
        return [*remarks, *unread_to_remark(unread)]

    def missing(self, stop: int) -> int:
        return bisect_left(self._missing, stop)

    def files(self) -> list[Path]:
        folders = sorted({os.path.dirname(entry.path) for entry in self._entries})
        return [
            self._list,
            *(self._list.parent / _listed_path(one, beside=self._list) for one in folders),
        ]

    def can_open(self, number: int) -> bool:
        return can_open(self._path(self._entries[number]))

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for entry in self._entries:
            values = [printable_path(entry.path), entry.caption, entry.nouns]
            if entry.licence:  # what says nothing of it keeps the hash that it had
                values.append(entry.licence)
            digest.update(f"{json.dumps(values)}\n".encode())
        return digest.hexdigest()

    def describe(self) -> list[str]:
        captions = sum(bool(entry.caption) for entry in self._entries)
        nouns = sum(bool(entry.nouns) for entry in self._entries)
        licences = sum(bool(entry.licence) for entry in self._entries)
        first = ", ".join(printable(entry.path) for entry in self._entries[:3])
        stated = f", {licences:,} with a licence" if licences else ""
        return [
            f"{len(self._entries):,} pictures, {captions:,} with a caption, {nouns:,} with "
            f"nouns{stated}; "
            f"first: {first}"
        ]

    def record(self, number: int, *, seed: int) -> Source:
        return Source(kind="file", path=printable_path(self._entries[number].path))

    def fill(self, sample: Sample, number: int) -> None:
        entry = self._entries[number]
        shown = printable(entry.path)
        try:
            if fill_from_file(sample, self._path(entry), self._config, shown=shown):
                fill_text(sample, caption=entry.caption, nouns=entry.nouns)
                set_licence(sample, entry.licence)
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

"""A JSON file that is one long list, element by element: what is held is an element, not the file.

Where each lies is known as well, so that it can be read again alone, by another process too.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from imig.errors import DataError
from imig.regular_file import open_regular_file

MAX_CHARACTERS: Final = 1 << 26
"""Of an element; a file without the comma that ends one is not read whole to find that out."""
_CHUNK: Final = 1 << 20
_SPACE: Final = " \t\n\r"


@dataclass(frozen=True)
class Element:
    """A value of the list, and its bytes' place in the file."""

    value: Any
    offset: int
    size: int


def each_element(path: Path) -> Iterator[Element]:
    """The elements of a list, in order.

    Raises
    ------
    DataError
        The file cannot be read, is no UTF-8, no JSON, or no list; it says where. What came before
        has been given out by then.
    """
    try:
        with open_regular_file(path) as file:
            yield from _Reader(path, file).elements()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def read_element(path: Path, *, offset: int, size: int) -> Any:
    """The value that lies there.

    Raises DataError when the file has changed since, or cannot be read.
    """
    try:
        with open_regular_file(path) as file:
            file.seek(offset)
            return json.loads(file.read(size))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} has changed while it was read: no element at byte {offset}"
        ) from error


class _Reader:
    """Text that has been read and not used up, and where in the file it begins."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at, self._bytes = "", 0, 0
        self._ended = False

    def elements(self) -> Iterator[Element]:
        if self._next_character() == "\ufeff":  # a byte order mark, as Windows writes it
            self._advance(self._at + 1)
        if self._next_character() != "[":
            raise self._damaged("it is no list")
        self._advance(self._at + 1)
        if self._next_character() != "]":
            yield self._element()
            while self._next_character() == ",":
                self._advance(self._at + 1)
                self._next_character()
                yield self._element()
        if self._next_character() != "]":
            raise self._damaged("a comma or the list's end is missing")
        self._advance(self._at + 1)
        if self._next_character():
            raise self._damaged("there is more behind the list's end")

    def _element(self) -> Element:
        offset = self._bytes
        while True:
            try:
                value, end = _JSON.raw_decode(self._text, self._at)
                # A number at the end of what has been read may go on.
                if end < len(self._text) or not self._read():
                    self._advance(end)
                    return Element(value, offset, self._bytes - offset)
            except RecursionError as error:
                raise self._damaged("an element is nested too deeply") from error
            except ValueError as error:
                if not self._read():
                    why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                    raise self._damaged(why) from error
            if len(self._text) - self._at > MAX_CHARACTERS:
                raise self._damaged(f"an element of more than {MAX_CHARACTERS} characters")

    def _next_character(self) -> str:
        """What comes next and is no space; "" at the end of the file."""
        while True:
            at = self._at
            while at < len(self._text) and self._text[at] in _SPACE:
                at += 1
            self._advance(at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read():
                return ""

    def _advance(self, at: int) -> None:
        self._bytes += len(self._text[self._at : at].encode())
        self._at = at

    def _read(self) -> bool:
        """Read as much again as is held, so that long elements are not begun too often."""
        if self._ended:
            return False
        held = self._text[self._at :]
        data = self._file.read(max(_CHUNK, len(held)))
        self._ended = not data
        try:
            self._text = held + self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            raise self._damaged("it is no UTF-8") from error
        self._at = 0
        return not self._ended

    def _damaged(self, why: str) -> DataError:
        return DataError(
            f"{self._path} is damaged near byte {self._bytes}: {why}",
            cure="fetch or write the file again",
        )


_JSON: Final = json.JSONDecoder()

"""The arrays of a large JSON file, one element at a time, each with the place of its bytes.

COCO's annotations are one object of hundreds of megabytes; as Python values they would take ten
times that in every worker. Here a file is gone through once, and single elements are read again
later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from json.decoder import JSONDecodeError
from typing import Any, BinaryIO, Final, NamedTuple

from imig.errors import DataError

MAX_ELEMENT: Final = 1 << 26
"""Bytes of one element; an object with an outline of a million corners has 20 MB."""
_CHUNK: Final = 1 << 20
_BLANKS: Final = " \t\r\n"


class Element(NamedTuple):
    """An element of one of the outermost object's arrays."""

    array: str
    """The key under which the array stands."""
    value: Any
    start: int
    """Of its bytes in the file."""
    stop: int


class JsonArrays:
    """Iterates over the elements of a file's arrays; `sha256` is that of the file, at the end."""

    def __init__(self, file: BinaryIO, *, name: str) -> None:
        self._file = file
        self._name = name
        self._digest = hashlib.sha256()
        # Every byte as one character: places in the text are places in the file.
        self._text = ""
        self._at = 0
        self._before = 0
        self._decoder = json.JSONDecoder()
        self.is_list = False
        """Whether the file is an array itself; it has then no elements."""

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[Element]:
        """Raises DataError, with the place, for what is no JSON or breaks off."""
        if self._peek() == "\xef":
            self._at += 3  # a byte order mark
        if self._peek() == "[":
            self.is_list = True
            return
        self._expect("{")
        if self._peek() == "}":
            self._at += 1
        else:
            yield from self._members()
        if self._peek():
            raise self._fault("more than one value")

    def _members(self) -> Iterator[Element]:
        while True:
            key = self._value()[0]
            if not isinstance(key, str):
                raise self._fault("a key that is no text")
            self._expect(":")
            if self._peek() == "[":
                yield from self._elements(key)
            else:
                self._value()
            if self._expect(",}") == "}":
                return

    def _elements(self, array: str) -> Iterator[Element]:
        self._expect("[")
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            value, start, stop = self._value()
            yield Element(array, value, start, stop)
            if self._expect(",]") == "]":
                return

    def _value(self) -> tuple[Any, int, int]:
        self._peek()
        wanted = _CHUNK
        while True:
            try:
                value, stop = self._decoder.raw_decode(self._text, self._at)
            except JSONDecodeError as error:
                if len(self._text) - self._at > MAX_ELEMENT or not self._read(wanted):
                    self._at = error.pos
                    raise self._fault(error.msg) from None
            except (RecursionError, ValueError) as error:  # nested too deeply; a number too long
                raise self._fault(str(error) or type(error).__name__) from None
            else:
                # A number may go on in what has not been read yet.
                if stop < len(self._text) or not self._read(wanted):
                    start, self._at = self._at, stop
                    return self._decoded(value, start, stop), *self._span(start, stop)
            wanted *= 2

    def _decoded(self, value: Any, start: int, stop: int) -> Any:
        text = self._text[start:stop]
        if text.isascii():
            return value
        try:
            return json.loads(text.encode("latin-1"))
        except ValueError as error:  # it is no UTF-8
            raise self._fault(str(error)) from None

    def _span(self, start: int, stop: int) -> tuple[int, int]:
        return self._before + start, self._before + stop

    def _peek(self) -> str:
        """The next character that is no blank; "" at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANKS:
                    return self._text[self._at]
                self._at += 1
            if not self._read(_CHUNK):
                return ""

    def _expect(self, characters: str) -> str:
        found = self._peek()
        if not found or found not in characters:
            what = " or ".join(characters)
            raise self._fault(f"{what} expected" + ("" if found else ", and the file ends"))
        self._at += 1
        return found

    def _read(self, size: int) -> bool:
        data = self._file.read(size)
        self._digest.update(data)
        self._text = self._text[self._at :] + data.decode("latin-1")
        self._before += self._at
        self._at = 0
        return bool(data)

    def _fault(self, why: str) -> DataError:
        return DataError(
            f"{self._name} is no JSON: byte {self._before + self._at}: {why}",
            cure="was it cut off while it was copied? get it again",
        )


def read_element(file: BinaryIO, start: int, stop: int) -> Any:
    """The element whose bytes lie there."""
    file.seek(start)
    return json.loads(file.read(stop - start))

"""Files of prompts, read by number: a million lines cost a worker 8 MB and a seek each."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from imig.errors import DataError, SourceLostError, UsageError
from imig.prompts.record import CURE, PromptRecord, line_to_record
from imig.shards.manifest import file_sha256
from imig.text import Line, bytes_to_lines

_BLANK = b" \t\r\n\v\f\xef\xbb\xbf"
"""White space, and the mark of UTF-8."""
LOOKED_AT = 100
"""Lines that are read before a build, to find out what the file holds."""


@dataclass(frozen=True)
class PromptsFile:
    """The lines of a file as they were when it was listed; empty lines do not count."""

    path: Path
    offsets: array[int]
    """Where the line of each number begins, in bytes; of a `wide` file the line's index."""
    sha256: str
    """Of the whole file."""
    wide: bool = False
    """In UTF-16 or UTF-32, as some editors and shells write; a worker keeps its lines."""

    def __len__(self) -> int:
        return len(self.offsets)

    def read(self, number: int) -> PromptRecord:
        """The record of that number, from 0.

        Raises DataError when its line is wrong, SourceLostError when the file is gone or has
        changed since it was listed.
        """
        if _sha256_now(self.path) != self.sha256:
            raise SourceLostError(
                f"{self.path} has changed since the build began",
                cure="leave the file alone during a build, or start anew with --overwrite",
            )
        try:
            return self._read_line(self.offsets[number])
        except OSError as error:
            raise _lost(self.path, error) from error

    def _read_line(self, offset: int) -> PromptRecord:
        if self.wide:
            wide_line = _wide_lines(self.path, self.sha256)[offset]
            return line_to_record(wide_line.data, place=f"{self.path}:{wide_line.number}")
        with self.path.open("rb") as file:
            file.seek(offset)
            line = file.readline()
            try:
                return line_to_record(line, place=str(self.path))
            except DataError:
                # Only now is the line's number worth counting.
                file.seek(0)
                before = file.read(offset).count(b"\n")
        return line_to_record(line, place=f"{self.path}:{before + 1}")

    def first(self) -> list[PromptRecord]:
        """The first records, to see what the file holds. Raises UsageError for a wrong line."""
        try:
            return [self.read(number) for number in range(min(len(self), LOOKED_AT))]
        except DataError as error:
            raise UsageError(error.message, cure=error.cure) from error


def list_prompts(path: Path) -> PromptsFile:
    """List a file's lines; parses none of them. Raises UsageError when it cannot be read."""
    offsets, position, digest = array("q"), 0, hashlib.sha256()
    try:
        with path.open("rb") as file:
            if _is_wide(file.read(4)):
                return _list_wide(path)
            file.seek(0)
            for line in file:
                digest.update(line)
                if line.strip(_BLANK):
                    offsets.append(position)
                position += len(line)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}",
            cure="give a file of prompts, as `imig prompts` writes it",
        ) from error
    return _listed(PromptsFile(path, offsets, digest.hexdigest()))


def _listed(file: PromptsFile) -> PromptsFile:
    if not file.offsets:
        raise UsageError(f"{file.path} holds no prompt", cure=CURE)
    return file


def _is_wide(start: bytes) -> bool:
    """By the mark, or the zeros around the first character, which is ASCII: a brace."""
    return start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start


def _list_wide(path: Path) -> PromptsFile:
    sha256 = _sha256_now(path)
    try:
        lines = _wide_lines(path, sha256)
    except DataError as error:
        raise UsageError(error.message, cure=error.cure) from error
    offsets = array("q", (place for place, line in enumerate(lines) if line.text.strip()))
    return _listed(PromptsFile(path, offsets, sha256, wide=True))


@lru_cache(maxsize=2)
def _wide_lines(path: Path, sha256: str) -> list[Line]:
    return bytes_to_lines(path.read_bytes(), where=str(path))


def _sha256_now(path: Path) -> str:
    """The file's hash; computed anew only when size or time say that the file was changed."""
    try:
        stat = path.stat()
        return _sha256(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise _lost(path, error) from error


def _lost(path: Path, error: OSError) -> SourceLostError:
    return SourceLostError(
        f"cannot read {path}: {error.strerror}",
        cure="bring it back, and run the same command again: finished work is kept",
    )


@lru_cache(maxsize=8)
def _sha256(path: Path, size: int, changed: int) -> str:
    return file_sha256(path)

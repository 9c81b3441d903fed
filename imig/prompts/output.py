"""The files of a run that writes prompts, beside each other.

::

    prompts.jsonl              the prompts by number; whole lines, appended
    prompts.quarantine.jsonl   answers that could not be used, with the reason
    prompts.pending.jsonl      good answers that wait for an earlier number; gone at the end
    prompts.state.json         what is being written, and what it has cost

Every line is flushed as it is written, and a line that a kill has torn is cut off by the next run.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imig.endpoint.endpoint import Usage
from imig.errors import DataError, UsageError
from imig.prompts.record import PromptRecord, line_to_record, record_to_line
from imig.regular_file import read_regular_file
from imig.schema import first_problem
from imig.shards.atomic import atomic_write_bytes

_PENDING_BYTES = 1 << 20
"""The pending file is emptied beyond this, as soon as nothing waits."""


@dataclass(frozen=True)
class OutputPaths:
    """Where the files of a run lie."""

    prompts: Path

    @property
    def quarantine(self) -> Path:
        return self.prompts.with_name(f"{self.prompts.stem}.quarantine.jsonl")

    @property
    def pending(self) -> Path:
        return self.prompts.with_name(f"{self.prompts.stem}.pending.jsonl")

    @property
    def state(self) -> Path:
        return self.prompts.with_name(f"{self.prompts.stem}.state.json")

    def all(self) -> tuple[Path, ...]:
        return self.prompts, self.quarantine, self.pending, self.state


class PromptsOutput:
    """The files, open for one run; use `open_output`."""

    def __init__(self, paths: OutputPaths, file: BinaryIO, identity: Mapping[str, Any]) -> None:
        self.paths = paths
        self.usage = _state(paths).usage
        """Of earlier runs; the caller adds its own."""
        self.offsets = _whole_lines(file)
        """Where each prompt that is there begins."""
        self.attempts: dict[int, int] = {}
        """Number -> the attempts that failed, for numbers that are still to come."""
        self._identity = identity
        self._file = file
        self._quarantine = _open(paths.quarantine)
        self._pending = _open(paths.pending)
        for line in _lines(self._quarantine, paths.quarantine):
            if line.number >= len(self.offsets):
                self.attempts[line.number] = line.attempt + 1

    def __len__(self) -> int:
        return len(self.offsets)

    def read(self, number: int) -> PromptRecord:
        """A prompt that has been written."""
        self._file.seek(self.offsets[number])
        return line_to_record(self._file.readline(), place=f"{self.paths.prompts}:{number + 1}")

    def append(self, record: PromptRecord) -> None:
        """Write the next prompt."""
        self.offsets.append(self._file.seek(0, os.SEEK_END))
        _write(self._file, record_to_line(record))

    def keep(self, number: int, attempt: int, record: PromptRecord) -> None:
        """Keep a good answer until its turn comes, also over a kill."""
        value = {"number": number, "attempt": attempt, "record": record.model_dump()}
        _write(self._pending, _line(value))

    def kept(self) -> Iterator[tuple[int, int, PromptRecord]]:
        """Number, attempt and record of answers that an earlier run has kept."""
        for line in _lines(self._pending, self.paths.pending):
            if line.record is not None and line.number >= len(self):
                yield line.number, line.attempt, line.record

    def forget_kept(self) -> None:
        """Nothing waits any more."""
        if self._pending.seek(0, os.SEEK_END) > _PENDING_BYTES:
            self._pending.truncate(0)

    def quarantine(self, number: int, attempt: int, *, reason: str, answer: Any) -> None:
        """Put an answer aside that cannot be used."""
        value = {"number": number, "attempt": attempt, "reason": reason, "answer": answer}
        _write(self._quarantine, _line(value))

    def save_state(self, usage: Usage) -> None:
        """Write down what all runs have cost."""
        save_state(self.paths, self._identity, usage)

    def close(self) -> None:
        """Close the files, and leave no empty ones."""
        for file, path in (
            (self._quarantine, self.paths.quarantine),
            (self._pending, self.paths.pending),
        ):
            file.close()
            if path.stat().st_size == 0:
                path.unlink()
        if not self.offsets and not self.paths.pending.exists():
            self.paths.prompts.unlink()
            self.paths.state.unlink()

    def finish(self) -> None:
        """There are as many prompts as are wanted: nothing waits any more."""
        self._pending.truncate(0)


@contextmanager
def open_output(
    prompts: Path, *, identity: Mapping[str, Any], overwrite: bool = False
) -> Iterator[PromptsOutput]:
    """Open a run's files for appending, what is there repaired.

    Raises
    ------
    UsageError
        The file holds prompts of another recipe, or of unknown origin; another run writes it; or
        the folder cannot be written.
    """
    paths = OutputPaths(prompts)
    try:
        prompts.parent.mkdir(parents=True, exist_ok=True)
        with _open(prompts) as file:
            _lock(file, prompts)
            if overwrite:
                file.truncate(0)
                for path in paths.all()[1:]:
                    path.unlink(missing_ok=True)
            _require_same(paths, identity, empty=os.fstat(file.fileno()).st_size == 0)
            output = PromptsOutput(paths, file, identity)
            output.save_state(output.usage)
            try:
                yield output
            finally:
                output.close()
    except BrokenPipeError:  # of what is printed, not of these files
        raise
    except OSError as error:
        raise UsageError(
            f"cannot write {error.filename or prompts}: {error.strerror}",
            cure="give another --output, or make room on the disk; what is written is kept",
        ) from error


def save_state(paths: OutputPaths, identity: Mapping[str, Any], usage: Usage) -> None:
    """Write down what the file holds, and what it has cost."""
    state = {"identity": dict(identity), "usage": asdict(usage)}
    atomic_write_bytes(paths.state, (json.dumps(state, indent=1) + "\n").encode())


def count_written(prompts: Path, *, identity: Mapping[str, Any]) -> int:
    """How many prompts of this very recipe are there; of another, UsageError as `open_output`."""
    paths = OutputPaths(prompts)
    if not prompts.is_file():
        return 0
    _require_same(paths, identity, empty=prompts.stat().st_size == 0)
    with prompts.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file)


def _require_same(paths: OutputPaths, identity: Mapping[str, Any], *, empty: bool) -> None:
    if empty and not (paths.pending.is_file() and paths.pending.stat().st_size):
        return
    there = _state(paths).identity
    if there == json.loads(json.dumps(identity)):
        return
    if there is None:
        message = f"{paths.prompts} is there already, and not by `imig prompts`"
    else:
        keys = [key for key in identity if there.get(key) != identity[key]]
        message = f"{paths.prompts} holds prompts by another recipe; different: {', '.join(keys)}"
    raise UsageError(message, cure="give another --output, or --overwrite to write it anew")


class _State(BaseModel):
    """`prompts.state.json`."""

    model_config = ConfigDict(strict=True)

    identity: dict[str, Any] | None = None
    usage: Usage = Field(default_factory=Usage)


class _Line(BaseModel):
    """What is read again of a line of quarantine or pending prompts."""

    number: int = Field(ge=0)
    attempt: int = Field(ge=0)
    record: PromptRecord | None = None


def _state(paths: OutputPaths) -> _State:
    if not os.path.lexists(paths.state):
        return _State()
    try:
        return _State.model_validate_json(read_regular_file(paths.state))
    except (OSError, ValidationError) as error:
        reason = first_problem(error) if isinstance(error, ValidationError) else error.strerror
        raise DataError(
            f"{paths.state} is damaged: {reason}", cure="--overwrite writes all prompts anew"
        ) from error


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"another process writes {path}", cure="wait until it ends, or give another --output"
        ) from error


def _open(path: Path) -> BinaryIO:
    # Not "a+": truncating and reading are wanted too, and there is one writer.
    path.touch()
    if not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return path.open("r+b")


def _whole_lines(file: BinaryIO) -> list[int]:
    """Offsets of the lines; a torn last one is cut off."""
    file.seek(0)
    offsets, end = [], 0
    for line in file:
        if not line.endswith(b"\n"):
            file.truncate(end)
            break
        offsets.append(end)
        end += len(line)
    return offsets


def _lines(file: BinaryIO, path: Path) -> Iterator[_Line]:
    for place, offset in enumerate(_whole_lines(file), start=1):
        file.seek(offset)
        line = file.readline()
        try:
            # Not pydantic's own parser: answers may hold halves of characters.
            yield _Line.model_validate(json.loads(line))
        except (ValueError, RecursionError) as error:
            reason = first_problem(error) if isinstance(error, ValidationError) else str(error)
            raise DataError(
                f"{path}:{place} is damaged: {reason}",
                cure="remove that line: what it holds is asked for again; --overwrite writes all "
                "prompts anew",
            ) from error
    file.seek(0, os.SEEK_END)


def _line(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _write(file: BinaryIO, line: bytes) -> None:
    file.seek(0, os.SEEK_END)
    file.write(line)
    file.flush()

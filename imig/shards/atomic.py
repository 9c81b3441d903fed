"""Write files so that no reader ever sees half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imig.errors import DataError
from imig.stores.path import OutputPath, StorePath, local_target


@contextmanager
def atomic_write(path: OutputPath) -> Iterator[Path]:
    """Give the path of a temporary file beside `path`; on success it takes the final name.

    The temporary file (``.<name>.tmp-<pid>``) and the folder are flushed to the disk before and
    after the rename, so that even a power cut leaves either the old file or the whole new one.
    When the block raises, the temporary file is removed and `path` stays as it was.

    Of a path in a store the temporary file lies on this machine, and is sent when the block ends:
    an object is there whole or not at all.

    Raises
    ------
    DataError
        When the folder cannot be written, the disk is full, or the store does not answer; names
        the path.
    """
    if isinstance(path, StorePath):
        with local_target(path) as copy:
            yield copy
        return
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}",
            cure="Make room on the disk, or choose a folder that you may write to.",
        ) from error
    finally:
        # After the rename there is nothing left under this name. Where that is not to be had, the
        # folder is not there or not writable, and the error on its way out says so.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def atomic_write_bytes(path: OutputPath, data: bytes) -> None:
    """Write `data` to `path` as `atomic_write` does."""
    if isinstance(path, StorePath):
        path.write_bytes(data)
        return
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def replace_file(new: Path, path: Path) -> None:
    """Give a whole file the name of another, which is gone then. Raises DataError as above."""
    try:
        os.replace(new, path)
        _flush(path.parent)
    except OSError as error:
        raise DataError(f"cannot replace {path}: {error.strerror or error}") from error


def remove_file(path: Path) -> None:
    """Remove a file for good, if it is there. Raises DataError as above."""
    try:
        path.unlink(missing_ok=True)
        _flush(path.parent)
    except OSError as error:
        raise DataError(f"cannot remove {path}: {error.strerror or error}") from error


def temporary_path(path: Path) -> Path:
    """Where `atomic_write` keeps the unfinished file."""
    return path.with_name(f".{path.name}.tmp-{os.getpid()}")


def is_temporary(name: str) -> bool:
    """Whether a file name is one that an interrupted `atomic_write` leaves behind."""
    stem, mark, process = name.rpartition(".tmp-")
    return bool(mark) and stem.startswith(".") and process.isdigit()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

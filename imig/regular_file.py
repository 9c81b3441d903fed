"""Open files of others without waiting for ever."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


class NotAFileError(OSError):
    """What has been opened is a folder, a pipe, a socket or a device."""


class FileTooLargeError(OSError):
    """It has more bytes than whoever reads it can use."""


def open_regular_file(path: str | Path) -> BufferedReader:
    """A regular file, or a link to one, for reading.

    A pipe would wait for a writer that never comes, and a device never ends.

    Raises
    ------
    OSError
        When it cannot be opened; `strerror` says why. `NotAFileError` when it is something else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket; a device that is not there
            raise _not_a_file(path) from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _not_a_file(path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular_file(path: str | Path, *, max_bytes: int | None = None) -> bytes:
    """All bytes of a regular file; errors as `open_regular_file`'s.

    Of one that has more than `max_bytes` nothing is read: `FileTooLargeError`.
    """
    with open_regular_file(path) as file:
        if max_bytes is None:
            return file.read()
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise FileTooLargeError(
                errno.EFBIG, f"its {size} bytes are more than {max_bytes}", str(path)
            )
        return file.read(max_bytes + 1)[:max_bytes]


def _not_a_file(path: str | Path) -> NotAFileError:
    return NotAFileError(errno.EINVAL, "it is no regular file", str(path))

"""Open files of others without waiting for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular_file(path: str | Path) -> BinaryIO:
    """A regular file, or a link to one, for reading.

    A pipe would wait for a writer that never comes, and a device never ends.

    Raises
    ------
    OSError
        When it cannot be opened, or is something else; `strerror` says what.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular_file(path: str | Path) -> bytes:
    """All bytes of a regular file; errors as `open_regular_file`'s."""
    with open_regular_file(path) as file:
        return file.read()

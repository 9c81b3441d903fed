"""One process writes into a folder at a time; the system frees the lock when it dies."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from imig.errors import UsageError
from imig.stores.lock import store_lock
from imig.stores.path import OutputPath, StorePath

_SHOWN = 200
"""Characters of a lock file, which holds a line of ours, or anything."""


@contextmanager
def folder_lock(path: OutputPath, *, folder: OutputPath, who: str) -> Iterator[None]:
    """Hold the lock file `path` of an output folder; the file is made, and stays.

    In a store it is an object, which goes when the block ends (`imig.stores.lock`).

    Parameters
    ----------
    who:
        What else may hold it, for the message: ``another build``.

    Raises
    ------
    UsageError
        When another process holds it: says which on which host. When the folder cannot be written.
    """
    if isinstance(path, StorePath):
        assert isinstance(folder, StorePath)
        with store_lock(path, folder=folder, who=who):
            yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not blocking: a pipe would wait for somebody at its other end.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    except OSError as error:
        raise UsageError(
            f"cannot write into {folder}: {error.strerror}", cure="give another --output"
        ) from error
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        if not path.is_file():
            raise UsageError(
                f"cannot write into {folder}: {path} is no regular file",
                cure="remove it, or give another --output",
            )
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = file.read(_SHOWN).decode(errors="replace").strip()
            raise UsageError(
                f"{who} writes into {folder}: {holder or 'just started'}",
                cure="wait until it ends, or give another --output",
            ) from error
        except OSError as error:
            # Some network file systems have no locks; without one, nobody can be kept out.
            raise UsageError(
                f"cannot lock {path}: {error.strerror or errno.errorcode.get(error.errno or 0)}",
                cure="give an --output on a file system that has locks",
            ) from error
        if not path.exists() or path.stat().st_ino != os.fstat(file.fileno()).st_ino:
            raise UsageError(
                f"{who} into {folder} has just ended", cure="run the same command again"
            )
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        except OSError as error:
            raise UsageError(
                f"cannot write {path}: {error.strerror}",
                cure="make room on the disk, or give another --output",
            ) from error
        yield

"""What happens in a folder, event by event: by this, strikes fall between any two of them."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

_CREATED: Final = 0x100
_DELETED: Final = 0x200
_WRITTEN: Final = 0x8
_RENAMED: Final = 0x80
_IS_FOLDER: Final = 0x40000000
_HEADER: Final = struct.Struct("iIII")
_POLL_SECONDS: Final = 0.2


class Watch:
    """Counts files of a folder, and of all below it, that appear, are closed, renamed or removed.

    Linux's inotify, which takes nothing from the machine while nothing happens.
    """

    def __init__(self, folder: Path) -> None:
        self.first: float | None = None
        """When the first event was, on the monotonic clock."""
        self.last: float | None = None
        self.count = 0
        self._changed = threading.Condition()
        self._system = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = self._system.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._folders: dict[int, Path] = {}
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="chaos-watch", daemon=True)
        self._add(folder)

    def wait_for(self, count: int, *, seconds: float) -> bool:
        """Whether so many events have been counted; waits for them."""
        with self._changed:
            return self._changed.wait_for(lambda: self.count >= count, timeout=seconds)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped = True
        self._thread.join()
        os.close(self._descriptor)

    def _add(self, folder: Path) -> int:
        """Watch a folder and those in it; how many entries were there before anybody watched."""
        mask = _CREATED | _DELETED | _WRITTEN | _RENAMED
        number = self._system.inotify_add_watch(self._descriptor, os.fsencode(folder), mask)
        if number < 0:  # it is gone
            return 0
        self._folders[number] = folder
        found = 0
        with suppress(OSError):
            for entry in os.scandir(folder):
                found += 1
                if entry.is_dir(follow_symlinks=False):
                    found += self._add(Path(entry.path))
        return found

    def _run(self) -> None:
        while not self._stopped:
            if not select.select([self._descriptor], [], [], _POLL_SECONDS)[0]:
                continue
            data, start, seen = os.read(self._descriptor, 1 << 16), 0, 0
            while start < len(data):
                number, mask, _, length = _HEADER.unpack_from(data, start)
                name = data[start + _HEADER.size :][:length].rstrip(b"\0")
                start += _HEADER.size + length
                seen += 1
                if mask & _IS_FOLDER and mask & (_CREATED | _RENAMED) and number in self._folders:
                    seen += self._add(self._folders[number] / os.fsdecode(name))
            with self._changed:
                self.last = time.monotonic()
                self.first = self.first or self.last
                self.count += seen
                self._changed.notify_all()

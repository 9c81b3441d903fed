"""What happens in a folder, event by event: by this, strikes fall between any two of them."""

from __future__ import annotations

import ctypes
import os
import re
import select
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

_CREATED: Final = 0x100
_DELETED: Final = 0x200
_WRITTEN: Final = 0x8
_RENAMED: Final = 0x80
_WORDS: Final = {
    _CREATED: "created", _DELETED: "deleted", _WRITTEN: "written", _RENAMED: "renamed",
}  # fmt: skip
_IS_FOLDER: Final = 0x40000000
_HEADER: Final = struct.Struct("iIII")
_POLL_SECONDS: Final = 0.2


class Change(NamedTuple):
    """What has happened to which kind of file."""

    what: str
    name: str
    """Relative, with # for all numbers in it."""

    def __str__(self) -> str:
        return f"{self.name} {self.what}"


class Watch:
    """Counts files of a folder, and of all below it, that appear, are closed, renamed or removed.

    Linux's inotify, which takes nothing from the machine while nothing happens.
    """

    def __init__(self, folder: Path) -> None:
        self.first: float | None = None
        """When the first change was, on the monotonic clock."""
        self.last: float | None = None
        self.changes: Counter[Change] = Counter()
        self._root = folder
        self._changed = threading.Condition()
        self._system = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = self._system.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._folders: dict[int, Path] = {}
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="chaos-watch", daemon=True)
        self._add(folder)
        self.changes.clear()

    def wait_for(
        self, change: Change | None, count: int, *, or_first: Iterable[Change], seconds: float
    ) -> bool:
        """Whether so many of such changes have been seen, None: of any; waits for them.

        The first of some others does as well.
        """

        def there() -> bool:
            found = self.changes.total() if change is None else self.changes[change]
            return found >= count or any(self.changes[one] for one in or_first)

        with self._changed:
            return self._changed.wait_for(there, timeout=seconds)

    def seen(self) -> Counter[Change]:
        """What has happened up to now."""
        with self._changed:
            return self.changes.copy()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped = True
        self._thread.join()
        os.close(self._descriptor)

    def _add(self, folder: Path) -> None:
        """Watch a folder and those in it; what was there before anybody watched is new."""
        mask = _CREATED | _DELETED | _WRITTEN | _RENAMED
        number = self._system.inotify_add_watch(self._descriptor, os.fsencode(folder), mask)
        if number < 0:  # it is gone
            return
        self._folders[number] = folder
        with suppress(OSError):
            for entry in os.scandir(folder):
                self._note(_CREATED, Path(entry.path))
                if entry.is_dir(follow_symlinks=False):
                    self._add(Path(entry.path))

    def _note(self, mask: int, path: Path) -> None:
        name = re.sub("[0-9]+", "#", path.relative_to(self._root).as_posix())
        for bit, what in _WORDS.items():
            if mask & bit:
                self.changes[Change(what, name)] += 1

    def _run(self) -> None:
        while not self._stopped:
            if not select.select([self._descriptor], [], [], _POLL_SECONDS)[0]:
                continue
            data, start = os.read(self._descriptor, 1 << 16), 0
            with self._changed:
                while start < len(data):
                    number, mask, _, length = _HEADER.unpack_from(data, start)
                    name = os.fsdecode(data[start + _HEADER.size :][:length].rstrip(b"\0"))
                    start += _HEADER.size + length
                    if number in self._folders and name:
                        path = self._folders[number] / name
                        self._note(mask, path)
                        if mask & _IS_FOLDER and mask & (_CREATED | _RENAMED):
                            self._add(path)
                self.last = time.monotonic()
                self.first = self.first or self.last
                self._changed.notify_all()

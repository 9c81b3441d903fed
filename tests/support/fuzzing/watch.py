"""Notices what a reader must never do: write, start a program, load a pickle (PEP 578)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from imig import packed

FORBIDDEN = frozenset(
    {
        "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn",
        "pickle.find_class", "socket.connect", "os.remove", "os.rename",
        "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod",
    }
)  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """What has been done while it was on. A process has one: hooks stay for ever."""

    def __init__(self) -> None:
        self._on = False
        self.seen: list[str] = []
        sys.addaudithook(self._notice)

    def _notice(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._on:
            return
        if event == "open":
            flags = arguments[2]
            if isinstance(flags, int) and flags & _WRITING:
                self.seen.append(f"opened for writing: {arguments[0]!r}")
        elif event in FORBIDDEN and not (event == "pickle.find_class" and _is_packed(arguments)):
            self.seen.append(f"{event} {arguments!r:.200}")

    @contextmanager
    def on(self) -> Iterator[list[str]]:
        """Notes what is done within."""
        self.seen = []
        with self._switched(True):
            yield self.seen

    @contextmanager
    def off(self) -> Iterator[None]:
        """Does not look, for what the test itself does."""
        with self._switched(False):
            yield

    @contextmanager
    def _switched(self, on: bool) -> Iterator[None]:
        before, self._on = self._on, on
        try:
            yield
        finally:
            self._on = before


def _is_packed(arguments: tuple[object, ...]) -> bool:
    """Whether `imig.packed` takes its own rows apart again, whose bytes were never in a file."""
    caller = sys._getframe(2).f_code.co_filename
    return caller == packed.__file__ and arguments[0] in ("imig.shards.index", "imig.schema")


WATCH = Watch()

"""Processes of a command and all that it has started, found in /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

SHARED: Final = Path("/dev/shm")
MARK: Final = "IMIG_CHAOS"
"""In the environment of a command, which its processes inherit."""

_SHARED_SECONDS: Final = 3.0
"""Between looks at what they share: the maps of a process with PyTorch are long."""

Role = Literal["worker", "raylet", "gcs", "other"]


class Key(NamedTuple):
    """A process, told from a later one of the same number."""

    pid: int
    started: int
    """Ticks since the machine has."""


@dataclass(frozen=True)
class Process:
    """A process that is alive."""

    key: Key
    parent: int
    words: tuple[str, ...]
    """Its command line."""

    @property
    def role(self) -> Role:
        program = self.words[0] if self.words else ""
        if program.endswith("/raylet"):
            return "raylet"
        if program.endswith("/gcs_server"):
            return "gcs"
        if program.startswith("ray::") and not program.endswith("Agent"):
            return "worker"
        if any("spawn_main" in word for word in self.words):
            return "worker"
        return "other"

    def __str__(self) -> str:
        return f"process {self.key.pid}: {' '.join(self.words)[:120]}"


class Family:
    """All processes that have come of commands with one mark, as far as `look` has seen them.

    Some programs write their title over the environment that the system shows; those are known by
    their parents, or because they were seen before.
    """

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.shared: set[str] = set()
        """Names in `SHARED` of what any of them has mapped or opened."""
        self._word = f"{MARK}={mark}".encode()
        self._members: set[Key] = set()
        self._strangers: set[Key] = set()
        self._next_shared = 0.0

    def add(self, pid: int) -> None:
        """Know a process of which one has just been told, and with it its children."""
        with suppress(OSError):
            if (process := _read_process(pid)) is not None:
                self._members.add(process.key)

    def look(self) -> list[Process]:
        """Those that are alive now."""
        alive = {one.key.pid: one for one in _all_processes()}
        for process in alive.values():
            if process.key in self._members or process.key in self._strangers:
                continue
            if self._is_marked(process.key.pid):
                self._members.add(process.key)
        while True:  # children of children
            more = {
                one.key
                for one in alive.values()
                if one.key not in self._members
                and (parent := alive.get(one.parent)) is not None
                and parent.key in self._members
            }
            if not more:
                break
            self._members |= more
        self._strangers = {one.key for one in alive.values()} - self._members
        found = [one for one in alive.values() if one.key in self._members]
        if time.monotonic() > self._next_shared:
            self._next_shared = time.monotonic() + _SHARED_SECONDS
            self.shared.update(name for one in found for name in _shared(one.key.pid))
        return found

    def _is_marked(self, pid: int) -> bool:
        try:
            return self._word in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is another user's
            return False


def _all_processes() -> list[Process]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError, ValueError, IndexError):
                found.append(_read_process(int(name)))
    return [one for one in found if one is not None]


def _read_process(pid: int) -> Process | None:
    # Behind the program's name, which may hold anything: state, parent, .., start as the 20th.
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    if fields[0] in (b"Z", b"X"):
        return None
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return Process(Key(pid, int(fields[19])), int(fields[1]), tuple(filter(None, words)))


def _shared(pid: int) -> Iterator[str]:
    paths: list[str] = []
    with suppress(OSError):
        maps = Path(f"/proc/{pid}/maps").read_text(errors="replace")
        paths += [line[line.index("/") :] for line in maps.splitlines() if f"{SHARED}/" in line]
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                paths.append(os.readlink(link))
    for path in paths:
        if path.startswith(f"{SHARED}/") and not path.endswith(" (deleted)"):
            yield path.removeprefix(f"{SHARED}/")

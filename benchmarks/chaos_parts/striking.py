"""Ways to break a running command."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from benchmarks.chaos_parts.cases import Kind
from benchmarks.chaos_parts.processes import Family, Process, Role

_SLEEPS: Final = (0.5, 3.0)
"""Seconds for which a process is stopped, or a disk is full: at least, at most."""
TARGETS: Final[dict[Kind, Role]] = {
    "kill worker": "worker",
    "stop worker": "worker",
    "kill driver, worker asleep": "worker",
    "kill raylet": "raylet",
    "kill gcs": "gcs",
}
"""Whom strikes are meant for, where not for the command itself."""
_SMALLEST: Final = 1 << 12
"""Bytes a file may have where a full disk is played by a limit."""


class Run(Protocol):
    """A command that is running: what is asked of `subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, when it has ended; raises `subprocess.TimeoutExpired`."""
        ...


@dataclass(frozen=True)
class Disk:
    """Where outputs lie that are to meet a full disk."""

    folder: Path
    mounted: bool
    """A small file system of its own; else files are limited in size instead."""

    @property
    def how(self) -> str:
        return "a tmpfs that is filled" if self.mounted else "RLIMIT_FSIZE"

    @property
    def ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leave not a byte."""
        with self.ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def empty(self) -> None:
        """Give back what `fill` has taken."""
        self.ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Disk]:
    """A file system of that size while the block runs, where this user may mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "chaos", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield Disk(folder, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@dataclass
class Striker:
    """Strikes at a command's processes; keeps what is asleep, to wake it at the end."""

    family: Family
    generator: random.Random
    disk: Disk | None = None
    """Needed for a full one."""
    _asleep: list[threading.Timer] = field(default_factory=list)

    def strike(self, kind: Kind, run: Run) -> bool:
        """Whether it has met a command that was still running; returns when it is over."""
        target = self._find(kind, run)
        if target is None or run.poll() is not None:
            return False
        seconds = self.generator.uniform(*_SLEEPS)
        try:
            if kind == "full disk":
                self._fill_disk(run, seconds)
            elif kind in ("stop driver", "stop worker"):
                with _asleep(target):
                    time.sleep(seconds)
            elif kind == "kill driver, worker asleep":
                os.kill(target, signal.SIGSTOP)
                self._wake_later(target, seconds)
                os.kill(run.pid, signal.SIGKILL)
            elif kind == "SIGINT":  # as a terminal sends it: to all of the group
                os.killpg(run.pid, signal.SIGINT)
            else:
                os.kill(target, signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def wake_all(self) -> None:
        """Wait until nothing is asleep any more."""
        for timer in self._asleep:
            timer.join()
        self._asleep.clear()

    def _find(self, kind: Kind, run: Run) -> int | None:
        role = TARGETS.get(kind)
        if role is None:
            return run.pid
        while run.poll() is None:  # it may not have been started yet
            if found := [one for one in self.family.look() if one.role == role]:
                return self.generator.choice(_by_age(found)).key.pid
            time.sleep(0.05)
        return None

    def _wake_later(self, pid: int, seconds: float) -> None:
        def wake() -> None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        timer = threading.Timer(seconds, wake)
        timer.start()
        self._asleep.append(timer)

    def _fill_disk(self, run: Run, seconds: float) -> None:
        """Until the command has given up, or for so long."""
        assert self.disk is not None, "a case that meets a full disk lies on one"
        if self.disk.mounted:
            self.disk.fill()
            _wait(run, seconds)
            self.disk.empty()
            return
        limited = {run.pid, *(one.key.pid for one in self.family.look() if one.role == "worker")}
        before = {pid: old for pid in limited if (old := _limit_files(pid, _SMALLEST)) is not None}
        _wait(run, seconds)
        for pid, old in before.items():
            _limit_files(pid, old)


def _by_age(processes: list[Process]) -> list[Process]:
    """In the same order in every run with a seed, as far as machines allow."""
    return sorted(processes, key=lambda one: one.key.started)


@contextmanager
def _asleep(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _limit_files(pid: int, size: int) -> int | None:
    """Let files of a process not grow beyond a size; the limit before, None: it has ended."""
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        return resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))[0]
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EPERM):
            raise
        return None


def _wait(run: Run, seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        run.wait(seconds)

"""Somebody who opens the output all the time: every file that is there is whole."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

VOLATILE: Final = ("report.json", "report.html")
"""Files that say how long a run took; only that they are whole can be asked."""
_REST: Final = 9
"""Times as long as a look has taken until the next one: a tenth of a core at most."""


def digests(output: Path) -> dict[str, str]:
    """SHA-256 of every file of an output that is not hidden; of reports, what is not a time."""
    return {name: _digest(name, path.read_bytes()) for name, path in visible(output)}


def visible(output: Path) -> Iterator[tuple[str, Path]]:
    """Files that a reader sees: no name on the way to them begins with a dot."""
    for folder, folders, names in os.walk(output):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                path = Path(folder, name)
                yield path.relative_to(output).as_posix(), path


def _digest(name: str, data: bytes) -> str:
    """Of half a report there is none that any whole one has."""
    kind = name.rpartition("/")[2]
    if kind == "report.html":
        return "whole" if data.rstrip().endswith(b"</html>") else "half"
    if kind == "report.json":
        try:
            data = json.dumps(_without_times(json.loads(data))).encode()
        except ValueError:
            return "half"
    return hashlib.sha256(data).hexdigest()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(one) for key, one in value.items() if "second" not in key}
    return [_without_times(one) for one in value] if isinstance(value, list) else value


class Reader:
    """Looks at an output again and again, in a thread.

    Parameters
    ----------
    expected:
        Digests of the undisturbed output: what is visible must have these, whenever it is visible.
    seals:
        Files of the output whose presence says that all others below their folder, or that of their
        hidden one, are there.
    """

    def __init__(self, output: Path, expected: Mapping[str, str], *, seals: Mapping[str, str]):
        self.looks = 0
        self.problems: list[str] = []
        self._output, self._expected, self._seals = output, expected, seals
        self._known: dict[str, tuple[int, int, int]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos-reader", daemon=True)

    def look(self) -> None:
        """Open all that is there and was not there before; also called after each strike."""
        with self._lock:
            self.looks += 1
            for seal, below in self._seals.items():
                self._check_seal(seal, below)
            for name, path in visible(self._output):
                with suppress(FileNotFoundError, NotADirectoryError):  # begun anew
                    self._check(name, path)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        self._thread.join()
        self.look()

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            began = time.monotonic()
            self.look()
            pause = max(0.01, _REST * (time.monotonic() - began))

    def _check(self, name: str, path: Path) -> None:
        status = path.stat()
        key = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._known.get(name) == key:
            return
        data = path.read_bytes()
        if name not in self._expected:
            self._note(f"{name} is in no undisturbed output")
        elif _digest(name, data) != self._expected[name]:
            self._note(f"{name} was seen with {len(data)} bytes that are not the final ones")
        self._known[name] = key

    def _check_seal(self, seal: str, below: str) -> None:
        path = self._output / seal
        with suppress(FileNotFoundError, NotADirectoryError):
            before = path.stat()
            missing = [
                name
                for name in self._expected
                if name.startswith(below) and not (self._output / name).exists()
            ]
            after = path.stat()  # removed first where an output is begun anew
            if missing and (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):
                self._note(f"{seal} was there before {missing[0]}")

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

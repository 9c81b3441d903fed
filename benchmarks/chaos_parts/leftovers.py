"""What a command has left behind when it is through: processes, files, shared memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.chaos_parts.processes import SHARED, Family

_GRACE: Final = 100.0
"""Seconds in which processes of a killed command may end: Ray's agents try to tell a GCS that is
gone of it for a minute."""


def left_behind(family: Family, *, output: Path, temporary: Path, hidden: set[str]) -> list[str]:
    """All of it, in words.

    Parameters
    ----------
    temporary:
        The folder that was the command's TMPDIR.
    hidden:
        Hidden files that the undisturbed output has.
    """
    deadline = time.monotonic() + _GRACE
    while True:
        processes = [str(one) for one in family.look()]
        shared = [one for one in sorted(family.shared) if (SHARED / one).exists()]
        if not (processes or shared) or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    files = [f"{one} in the output" for one in sorted(hidden_files(output) - hidden)]
    files += [f"{one.relative_to(temporary)} in TMPDIR" for one in _files(temporary)]
    return [*processes, *(f"{SHARED}/{one}" for one in shared), *files]


def hidden_files(output: Path) -> set[str]:
    """Names of files, below the output, on the way to which a name begins with a dot."""
    names = (one.relative_to(output).as_posix() for one in _files(output))
    return {name for name in names if any(part.startswith(".") for part in name.split("/"))}


def _files(folder: Path) -> Iterator[Path]:
    for path, _, names in os.walk(folder):
        yield from (Path(path, name) for name in sorted(names))

"""What a command has left behind when it is through: processes, files, shared memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from benchmarks.chaos_parts.processes import Family

SHARED: Final = Path("/dev/shm")
_MAKERS: Final = ("plasma", "ray", "psm_", "pym-", "sem.", "torch_")
"""How names of shared memory begin that Ray, Python and PyTorch make."""
_GRACE: Final = 100.0
"""Seconds in which processes of a killed command may end: Ray's agents try to tell a GCS that is
gone of it for a minute."""


def left_behind(
    family: Family, *, output: Path, temporary: Path, shared_before: set[str], hidden: set[str]
) -> list[str]:
    """All of it, in words.

    Parameters
    ----------
    temporary:
        The folder that was the command's TMPDIR.
    shared_before:
        Names in `SHARED` when the first run began.
    hidden:
        Hidden files that the undisturbed output has.
    """
    deadline = time.monotonic() + _GRACE
    while True:
        processes = [str(one) for one in family.look()]
        shared = sorted(_shared(shared_before))
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


def _shared(before: set[str]) -> Iterator[str]:
    """New shared memory that nobody has open: that of living strangers is theirs."""
    there = {one.name for one in SHARED.iterdir()} if SHARED.is_dir() else set()
    new = {one for one in there - before if one.startswith(_MAKERS)}
    if new:
        yield from new - _in_use()


def _in_use() -> set[str]:
    """Names in `SHARED` that a process has mapped, open, or stands in."""
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for line in (process / "maps").read_text(errors="replace").splitlines():
                _note(line.partition("/")[1] + line.partition("/")[2], found)
        with suppress(OSError):
            for link in (process / "fd").iterdir():
                with suppress(OSError):
                    _note(os.readlink(link), found)
    return found


def _note(path: str, found: set[str]) -> None:
    if path.startswith(f"{SHARED}/"):
        found.add(path.removeprefix(f"{SHARED}/").split("/")[0])

"""What a command did to a hostile dataset, beside what the table expects."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from support.hostile.forks import HUNG, Answer
from support.hostile.planted import DERIVING, Command, PlantedFault

MOST_MORE_MB: Final = 2048
"""Memory above that of the same command on the good dataset."""


def snapshot(root: Path) -> dict[str, str]:
    """Everything below a folder: kinds, targets of links, SHA-256 of files."""
    found = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            what = f"-> {os.readlink(path)}"
        elif stat.S_ISREG(mode):
            what = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            what = oct(stat.S_IFMT(mode))
        found[os.fsencode(path.relative_to(root)).decode("ascii", "backslashreplace")] = what
    return found


def complaints(
    fault: PlantedFault, command: Command, answer: Answer, *, good: Answer, output: Path
) -> Iterator[str]:
    """What is not as it should be; the caller compares snapshots of what must not change."""
    if answer.code == HUNG:
        yield "it hangs"
        return
    if "Traceback" in answer.text:
        yield "a raw traceback"
    if answer.peak_mb > good.peak_mb + MOST_MORE_MB:
        yield f"{answer.peak_mb} MB at its peak, {good.peak_mb} MB with the good dataset"
    if any(output.with_suffix(".cwd").iterdir()):
        yield "it writes into the folder in which it was called"
    expected = fault.expected(command)
    if answer.code != (good.code if expected is None else expected):
        yield f"exit code {answer.code} instead of {good.code if expected is None else expected}"
    if expected is not None:
        shown = answer.text.casefold()
        missing = [name for name in fault.part.names if name.casefold() not in shown]
        if missing:
            yield f"its message lacks {', '.join(missing)}"
        if any(output.rglob("dataset.json")):
            yield "it fails, and leaves a dataset that seems to be finished"
    elif command in DERIVING and not good.code and not any(output.rglob("dataset.json")):
        yield "it succeeds, and there is no dataset"
    if "\x1b" in answer.text or "\x07" in answer.text:
        yield "it lets the data paint on the terminal"


def wild_ends(answer: Answer) -> Iterator[str]:
    """What no command may do, whatever it is given."""
    if answer.code == HUNG:
        yield "it hangs"
    elif answer.code not in (0, 1, 2):
        yield f"it ends with {answer.code}"
    if "Traceback" in answer.text:
        yield "a raw traceback"
    if answer.code == 2 and "error:" not in answer.text:
        yield "it does not say what is wrong"
    if answer.peak_mb > MOST_MORE_MB:
        yield f"{answer.peak_mb} MB at its peak"
    if "\x1b" in answer.text or "\x07" in answer.text:
        yield "it lets the data paint on the terminal"

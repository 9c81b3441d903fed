"""Plays attacks, and says what is not as it should be."""

from __future__ import annotations

import io
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from support.attacks.attack import EITHER, REFUSED, Attack
from support.hostile.verdict import snapshot

PATIENCE: Final = 120
"""Seconds after which a command counts as hanging; all of them take less than two."""
MOST_MEMORY: Final = 8 << 30
"""Bytes that a command may ask for: an attack then fails by itself, and the machine goes on."""
MOST_PEAK_MB: Final = 3000
"""Of a process that has 700 MB of libraries in it."""
OUTPUT: Final = "out"
TESTS: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Answer:
    """What came of an attack."""

    code: int
    """Exit code; negative: killed by that signal; 97: an exception came out."""
    text: str
    """What was printed."""
    peak_mb: int = 0


def prepare(attack: Attack, stage: Path, place: Path) -> None:
    """A copy of the inputs, with the fault in it."""
    for name in attack.uses:
        shutil.copytree(stage / name, place / name, symlinks=True)
    attack.plant(place)


def inputs_of(place: Path) -> dict[str, str]:
    """What must not change: everything but the output."""
    return {name: what for name, what in snapshot(place).items() if name.split("/")[0] != OUTPUT}


def play_here(attack: Attack, place: Path) -> Answer:
    """In this process; nothing is bounded."""
    before = Path.cwd()
    printed = io.StringIO()
    os.chdir(place)
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            code = _call(attack.command)
    finally:
        os.chdir(before)
    return Answer(code, printed.getvalue())


def play_apart(attack: Attack, place: Path) -> Answer:
    """In a process of its own, which is watched and bounded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.attacks.preloaded"])
    printed = place.with_name(f"{place.name}.txt")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_be, args=(attack.command, place, printed, sender))
    with _finding_tests():  # the server is started with the first process
        process.start()
    sender.close()
    process.join(PATIENCE)
    hung = process.is_alive()
    if hung:
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    peak = receiver.recv() if receiver.poll() else 0
    text = printed.read_text("utf-8", "replace")
    return Answer(-1000 if hung else process.exitcode or 0, text, peak)


@contextmanager
def _finding_tests() -> Iterator[None]:
    """Processes that are started meanwhile import `support`."""
    paths = filter(None, [str(TESTS), os.environ.get("PYTHONPATH")])
    with patch.dict(os.environ, {"PYTHONPATH": os.pathsep.join(paths)}):
        yield


def _be(command: tuple[str, ...], place: Path, printed: Path, sender: Any) -> None:
    os.chdir(place)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    with printed.open("w", encoding="utf-8", errors="backslashreplace") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        with redirect_stdout(file), redirect_stderr(file):
            code = _call(command)
    sender.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
    sender.close()
    os._exit(code)


def _call(command: tuple[str, ...]) -> int:
    from imig.cli import main

    try:
        return main(list(command))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        return 97


def complaints(
    attack: Attack, answer: Answer, *, place: Path, before: dict[str, str]
) -> Iterator[str]:
    """What is not as it should be; `before`: the inputs' snapshot."""
    told = answer.text + _quarantine(place / OUTPUT)
    if answer.code == -1000:
        yield "it hangs"
    if answer.peak_mb > MOST_PEAK_MB:
        yield f"it takes {answer.peak_mb} MB"
    if "Traceback" in told:
        yield "a raw traceback"
    if answer.code not in CODES.get(attack.code, (attack.code,)):
        yield f"exit code {answer.code}, not {attack.code}"
    missing = [one for one in attack.says if one not in told]
    if missing:
        yield f"its message lacks {', '.join(missing)}"
    if answer.code in (1, 2) and answer.text.count("error: ") != 1:
        yield "no line `error: ..`"
    if any(one in answer.text for one in ("\x1b", "\x07", "\u202e")):
        yield "it lets the data paint on the terminal"
    after = inputs_of(place)
    if after != before:
        changed = sorted(k for k in {*after, *before} if after.get(k) != before.get(k))
        yield f"it changes what it reads, or writes beside it: {changed[:5]}"
    finished = [name for name in FINISHED if (place / OUTPUT / name).is_file()]
    if answer.code and finished and attack.command[0] != "export":
        yield f"it fails, and leaves {finished[0]}"
    if (
        not answer.code
        and not finished
        and {*attack.command} >= {OUTPUT}
        and attack.command[0] in MAKING
    ):
        yield "it succeeds, and there is no result"
    kept = kept_in(place / OUTPUT) if finished else None
    if attack.kept is not None and (finished or not answer.code) and kept != attack.kept:
        yield f"{kept} come through, not {attack.kept}"


CODES: Final = {REFUSED: (1, 2), EITHER: (0, 1, 2)}
FINISHED: Final = ("dataset.json", ".imig-export/finished.json", "evaluation.json")
"""What says of an output that it is whole."""
MAKING: Final = ("import", "export", "evaluate")


def kept_in(output: Path) -> int | None:
    """How many scenes or pictures came through."""
    import json

    for name, keys in zip(
        FINISHED, (("counts", "written"), ("scenes",), ("pictures",)), strict=True
    ):
        if (output / name).is_file():
            value = json.loads((output / name).read_text())
            for key in keys:
                value = value[key]
            return int(value)
    return None


def _quarantine(output: Path) -> str:
    if not (output / "dataset.json").exists():
        return ""
    from imig.shards.tables import read_quarantine

    return "\n".join(f"{one.path}: {one.error}\n{one.traceback}" for one in read_quarantine(output))

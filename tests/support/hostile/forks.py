"""Runs each command in a process of its own, with everything imported already, and measures it.

The server is a process of its own too: it forks, which a process with threads had better not, and
a command that is killed for its memory takes nobody along.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

TESTS: Final = Path(__file__).parents[2]
PATIENCE: Final = 120
"""Seconds after which a command counts as hanging; on an idle machine the longest takes three."""
MOST_MEMORY: Final = 12 << 30
"""Bytes that a command may ask for: a fault then fails by itself, and the machine goes on."""
HUNG: Final = -1000


@dataclass(frozen=True)
class Order:
    """A command to run."""

    command: str
    folder: str
    good: str
    output: str
    """For what the command writes; `<output>.cwd`, which stays empty, is where it is called."""


@dataclass(frozen=True)
class Answer:
    """What came of it."""

    code: int
    """Exit code; negative: killed by that signal; `HUNG`."""
    peak_mb: int
    text: str
    """What it printed, standard output and error together."""


class Forks:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, order: Order) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(asdict(order)), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, "the server has died"
        return Answer(**json.loads(line))


@contextmanager
def forking_server(good: Path) -> Iterator[Forks]:
    """A server for as long as the context lasts; `good` is the good dataset that warms it up."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", str(TESTS.parent))])
    environment = os.environ | {
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "400",
        "NO_COLOR": "1",
        "MPLBACKEND": "agg",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "support.hostile.forks", str(good)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield Forks(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def serve(good: Path) -> None:
    """Answer orders, a line of JSON each, until there are no more."""
    _warm_up(good)
    for line in sys.stdin:
        print(json.dumps(asdict(_fork(Order(**json.loads(line))))), flush=True)


def _warm_up(good: Path) -> None:
    """Run every command once, so that its child need import nothing."""
    from support.hostile.commands import CALLS

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        for name, call in CALLS.items():
            (Path(folder) / name).mkdir()
            assert call(good, good, Path(folder) / name) == 0, f"{name} fails with a good dataset"


def _fork(order: Order) -> Answer:
    output = Path(order.output)
    printed, cwd = output.with_suffix(".txt"), output.with_suffix(".cwd")
    output.mkdir(parents=True)
    cwd.mkdir()
    child = os.fork()
    if not child:
        _be_the_command(order, printed=printed, cwd=cwd)
    deadline, hung = time.monotonic() + PATIENCE, False
    while True:
        process, status, usage = os.wait4(child, os.WNOHANG)
        if process:
            break
        if time.monotonic() > deadline and not hung:
            os.killpg(child, signal.SIGKILL)
            hung = True
        time.sleep(0.005)
    code = HUNG if hung else os.waitstatus_to_exitcode(status)
    text = printed.read_text("utf-8", "replace")
    return Answer(code=code, peak_mb=usage.ru_maxrss >> 10, text=text)


def _be_the_command(order: Order, *, printed: Path, cwd: Path) -> None:
    """In the child, which never returns from here."""
    code = 99
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
        for number in (1, 2):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            os.dup2(os.open(printed, flags), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(cwd)
        sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        code = _call(order)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _call(order: Order) -> int:
    from imig.cli import run_command
    from support.hostile.commands import CALLS

    call: Any = CALLS[order.command]
    try:
        return run_command(
            order.command,
            lambda: call(Path(order.folder), Path(order.good), Path(order.output)),
        )
    except BaseException:
        traceback.print_exc()
        return 98


if __name__ == "__main__":
    serve(Path(sys.argv[1]))

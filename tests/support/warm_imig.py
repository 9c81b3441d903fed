"""`imig` in processes that are forked from one that has imported it: a tenth of a second each.

As a program it is that process: it reads requests, a line of JSON each, and answers with a line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class WarmImig:
    """Starts commands; see `warm_imig`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(
        self, arguments: Sequence[str], printed: Path, environment: Mapping[str, str]
    ) -> WarmRun:
        """As `benchmarks.chaos_parts.rounds.start_imig`."""
        return WarmRun(self, int(self.ask([list(arguments), str(printed), dict(environment)])))

    def ask(self, request: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class WarmRun:
    """A command that runs; like `subprocess.Popen`, as far as anybody asks."""

    def __init__(self, parent: WarmImig, pid: int) -> None:
        self.pid = pid
        self._parent = parent
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            self._code = self._parent.ask(self.pid)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("imig", timeout or 0.0)
            time.sleep(0.01)
        return code


@contextmanager
def warm_imig(*modules: str) -> Iterator[WarmImig]:
    """Commands as fast as they get, which import the modules anyway, while the block runs."""
    with subprocess.Popen(
        [sys.executable, __file__, "imig.cli", *modules],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield WarmImig(process)


def _serve(modules: Sequence[str]) -> None:
    for module in modules:
        __import__(module)
    for line in sys.stdin:
        request = json.loads(line)
        if isinstance(request, int):
            pid, status = os.waitpid(request, os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif not (answer := os.fork()):
            _become_imig(*request)
        print(json.dumps(answer), flush=True)


def _become_imig(arguments: list[str], printed: str, environment: dict[str, str]) -> None:
    from imig.cli import main

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    descriptor = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.environ.update(environment)
    code = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1:])

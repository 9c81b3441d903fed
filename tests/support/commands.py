"""Commands as a user types them, in a process of their own or in this one."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from imig.cli import main

IMIG = Path(sys.executable).with_name("imig")


def run(*words: object) -> str:
    """What `imig ...` prints, started as a shell does; it must succeed."""
    done = subprocess.run([IMIG, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def call(*words: object) -> str:
    """As `run`, without the seconds that a process takes to start."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(word) for word in words])
    assert code == 0, f"{words}\n{out.getvalue()}\n{err.getvalue()}"
    return out.getvalue()

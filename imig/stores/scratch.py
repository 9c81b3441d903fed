"""Room on this machine for what goes to a store or has come from one, and is then thrown away."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch_file(name: str) -> Iterator[Path]:
    """The path of a file that is gone after the block; below TMPDIR."""
    with tempfile.TemporaryDirectory(
        prefix=f"{_prefix()}{os.getpid()}-", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder, name)


def remove_scratch_of_the_dead() -> None:
    """Remove what killed processes of this machine have left."""
    pattern = re.compile(re.escape(_prefix()) + r"(\d+)-")
    for path in Path(tempfile.gettempdir()).iterdir():
        found = pattern.match(path.name)
        if found and not is_alive(int(found[1])):
            shutil.rmtree(path, ignore_errors=True)


def is_alive(process: int) -> bool:
    """Whether there is a process of that number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _prefix() -> str:
    # Machines and containers may share the folder; their process numbers mean nothing to others.
    host = re.sub(r"[^A-Za-z0-9]+", "_", socket.gethostname())
    return f"imig-store-{host}-"

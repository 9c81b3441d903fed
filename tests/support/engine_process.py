"""Builds in processes of their own: started, watched, compared."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from imig.stores.path import OutputPath

SCRIPT = Path(__file__).with_name("engine_build.py")
COMPARED = ("*.tar", "index.parquet", "rejects.parquet", "dataset.json", "README.md", "pictures/*")
"""Everything but the reports, which hold times, and the tracebacks in the quarantine."""


def on_disk(path: OutputPath) -> Path:
    """The path, of a build that writes to this machine."""
    assert isinstance(path, Path)
    return path


def start(output: OutputPath, recipe: Path, *, seconds: float, ray: bool) -> subprocess.Popen[str]:
    """Start the build of `support.engine_build`; a scene takes `seconds`."""
    words = [sys.executable, SCRIPT, output, recipe, seconds, *([] if ray else ["in-process"])]
    return subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A process group of its own, as a shell gives it, and Ctrl-C not ignored: what runs in the
        # background of a script inherits SIGINT as ignored, and Python leaves it so.
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        # For Ray's workers, which import the stages.
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                [str(SCRIPT.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
        },
    )


def wait_for_parts(output: OutputPath, count: int, process: subprocess.Popen[str]) -> None:
    """Until that many parts or shards are there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        found = [*output.glob(".build/parts/*.json"), *output.glob("*.tar")]
        if len(found) >= count:
            return
        time.sleep(0.01)


def wait_for_ray(process: subprocess.Popen[str]) -> None:
    """Until the first of Ray's processes is there."""
    deadline = time.monotonic() + 60
    while not processes_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)


def processes_of(build: int) -> list[str]:
    """Command lines of Ray's processes of a build: they name its temporary folder."""
    mark = f"imig-{os.getuid()}/{build}/"
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in line:
            found.append(line)
    return found


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that must not depend on how a build came to its end."""
    paths = [path for pattern in COMPARED for path in sorted(folder.glob(pattern))]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }

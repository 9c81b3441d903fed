"""Ray's temporary files: a build removes those of builds that were killed, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engine_build import build_here
from support.engine_stages import write_recipe


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Ray's files of this user's builds lie; `tmp_path`, if wanted, lies elsewhere."""
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as short:  # as imig asks for
        monkeypatch.setattr(tempfile, "tempdir", short)
        folder = Path(short) / f"imig-{os.getuid()}"
        folder.mkdir()
        yield folder


def test_a_build_that_needs_no_ray_removes_what_killed_ones_have_left(
    sessions: Path, tmp_path: Path
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for process in (dead.pid, os.getpid()):
        (sessions / str(process) / "session_1" / "logs").mkdir(parents=True)
    (sessions / "notes").mkdir()
    recipe = write_recipe(tmp_path)
    left = {str(os.getpid()), "notes"}
    build_here(tmp_path / "d", recipe, ray=False)
    assert {one.name for one in sessions.iterdir()} == left
    (sessions / str(dead.pid)).mkdir()
    build_here(tmp_path / "d", recipe, ray=False)  # finished already
    assert {one.name for one in sessions.iterdir()} == left

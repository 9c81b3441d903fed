"""What the other side's readers are tested with: `imig` as a command, and a tiny dataset.

These tests run in `.venv-interop` (`make test-interop`), where imig is not installed: files go
between it and them, nothing else. The environment variable IMIG names the command.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from support.other_side import Imig  # noqa: E402

IMIG = Path(os.path.abspath(os.environ.get("IMIG", TESTS.parent / ".venv" / "bin" / "imig")))


@pytest.fixture(scope="session")
def imig() -> Imig:
    def run(*arguments: str | Path) -> str:
        done = subprocess.run([IMIG, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"imig {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five scenes of two shards, with masks, references and faces. Do not write into it."""
    folder = tmp_path_factory.mktemp("tiny") / "dataset"
    script = TESTS / "support" / "tiny_dataset.py"
    # By imig's own Python: this one has no imig.
    subprocess.run([IMIG.with_name("python"), script, folder, "5"], check=True)
    return folder

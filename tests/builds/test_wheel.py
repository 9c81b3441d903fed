"""The installed wheel works outside the checkout: recipes, schemas and weights are package data."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new environment that holds the wheel.

    The 7 GB of dependencies are not installed again: the environment sees this one's site-packages
    through a plain path line, which does not follow the editable install of the checkout (a .pth
    file in there).
    """
    folder = tmp_path_factory.mktemp("wheel")
    checkout = folder / "checkout"
    run("git", "clone", "-q", ROOT, checkout, cwd=folder)
    run(sys.executable, "-m", "build", "-q", "--wheel", "--no-isolation", "-o", folder, checkout,
        cwd=folder)  # fmt: skip
    (wheel,) = folder.glob("imig-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    paths = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel,
        cwd=folder)  # fmt: skip
    (Path(paths.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def test_the_wheel_is_what_is_imported(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import imig; print(imig.__file__)", cwd=tmp_path)
    assert str(installed.parent) in where


@pytest.mark.long
def test_the_demo_builds_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    out = run(installed / "imig", "build", "demo", "--limit", "8", "--output", "d", cwd=tmp_path)
    assert "wrote" in out
    run(installed / "imig", "validate", "d", cwd=tmp_path)
    assert "demo" in run(installed / "imig", "recipes", cwd=tmp_path)

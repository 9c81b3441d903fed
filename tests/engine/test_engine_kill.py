"""Killed at any moment, the same command finishes the work: same samples, same bytes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.engine_stages import write_recipe

from imig.shards.validate import validate_dataset

SCRIPT = Path(__file__).resolve().parents[1] / "support" / "engine_build.py"
SCENES = 90
COMPARED = ("*.tar", "index.parquet", "rejects.parquet", "dataset.json", "README.md", "pictures/*")
"""Everything but the reports, which hold times, and the tracebacks in the quarantine."""


def start(output: Path, recipe: Path, *, seconds: float, in_process: bool) -> subprocess.Popen[str]:
    command = [sys.executable, SCRIPT, output, recipe, SCENES, seconds]
    words = [str(word) for word in command] + (["in-process"] if in_process else [])
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A process group of its own, as a shell gives it, and Ctrl-C not ignored: what runs in the
        # background of a script inherits SIGINT as ignored, and Python leaves it so.
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        # For Ray's workers, which import the stages.
        env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])},
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert err == ""
    return out


def digests(folder: Path) -> dict[str, str]:
    paths = [path for pattern in COMPARED for path in sorted(folder.glob(pattern))]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def wait_for_parts(output: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Until that many parts or shards are there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        found = [*output.glob(".build/parts/*.json"), *output.glob("*.tar")]
        if len(found) >= count:
            return
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(recipe, dataset folder) of a build that nobody killed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    recipe = write_recipe(folder)
    finish(start(folder / "d", recipe, seconds=0, in_process=True))
    return recipe, folder / "d"


def test_the_undisturbed_dataset_is_valid(undisturbed: tuple[Path, Path]) -> None:
    report = validate_dataset(undisturbed[1])
    assert report.faults == []
    # Of 90: numbers 3, 10, 17, ... are turned down, 5 raises.
    assert report.samples == 90 - 13 - 1


def test_kill_at_random_moments(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, expected = undisturbed
    output, generator, kills = tmp_path / "d", random.Random(4), 0
    while kills < 6:
        process = start(output, recipe, seconds=0.003, in_process=True)
        wait_for_parts(output, 1 + kills, process)
        time.sleep(generator.uniform(0, 0.15))
        process.kill()
        process.communicate()
        kills += 1
        # Half a shard is never seen: what has a shard's name is the final shard.
        for path in output.glob("*.tar"):
            assert path.read_bytes() == (expected / path.name).read_bytes()
    finish(start(output, recipe, seconds=0, in_process=True))
    assert digests(output) == digests(expected)
    assert not (output / ".build").exists()


def test_kill_on_ray(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, expected = undisturbed
    output = tmp_path / "d"
    process = start(output, recipe, seconds=0.05, in_process=False)
    wait_for_parts(output, 4, process)
    process.kill()
    process.communicate()
    assert not (output / "dataset.json").exists()
    deadline = time.monotonic() + 30
    while processes_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_of(process.pid) == []
    out = finish(start(output, recipe, seconds=0, in_process=False))
    assert "finished by an earlier run" in out
    assert digests(output) == digests(expected)


@dataclass(frozen=True)
class Stop:
    """How a build is asked to end."""

    number: signal.Signals
    to_group: bool = False
    """As a terminal does: Ray's processes get it too."""
    twice: bool = False
    parts: int = 2
    """Finished blocks to wait for; 0: while Ray starts."""


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(Stop(signal.SIGINT, to_group=True, twice=True), id="impatient-ctrl-c"),
        pytest.param(Stop(signal.SIGTERM), id="sigterm"),
        pytest.param(Stop(signal.SIGTERM, parts=0), id="sigterm-while-ray-starts"),
    ],
)
def test_a_signal_stops_cleanly(undisturbed: tuple[Path, Path], tmp_path: Path, stop: Stop) -> None:
    recipe, expected = undisturbed
    output = tmp_path / "d"
    process = start(output, recipe, seconds=0.05, in_process=False)
    if stop.parts:
        wait_for_parts(output, stop.parts, process)
    else:
        wait_for_ray(process)
    send = os.killpg if stop.to_group else os.kill
    send(process.pid, stop.number)
    if stop.twice:
        time.sleep(0.3)
        send(process.pid, stop.number)
    err = process.communicate(timeout=60)[1]
    assert (process.returncode, err) == (130, "stopped; the same command continues\n")
    assert processes_of(process.pid) == []
    finish(start(output, recipe, seconds=0, in_process=True))
    assert digests(output) == digests(expected)


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

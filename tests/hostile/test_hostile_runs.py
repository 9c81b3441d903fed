"""Evaluations that are stopped, killed, or run twice at a time, and disks that fill up.

The process is a real one; what it sees is a stand-in's, slowly (`support.attacks.slowly`).
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.tiny_dataset import write_tiny_dataset

from imig import Dataset

TESTS = Path(__file__).parents[1]
SEEDS = 8
RESULTS = ("evaluation.json", "pictures.jsonl")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    dataset = write_tiny_dataset(root / "dataset", scenes=4)
    (root / "pictures").mkdir()
    for scene in Dataset(dataset):
        for seed in range(SEEDS):
            (root / "pictures" / f"{scene.id}-{seed}.jpg").write_bytes(scene.files["target.jpg"])
    return root


def start(inputs: Path, output: Path, *, seconds: float = 0.5, **how: Any) -> subprocess.Popen[str]:
    words = [
        *("evaluate", "pictures", "--against", "dataset", "--output", str(output)),
        *("--set", "models=tiny", "--worst", "0"),
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "support.attacks.slowly", *words],
        cwd=inputs,
        env={
            **os.environ,
            "PYTHONPATH": f"{TESTS}:{TESTS.parent}",
            "SECONDS_A_LOOK": str(seconds),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **{"preexec_fn": _heeds_interrupts, **how},
    )


def _heeds_interrupts() -> None:
    # what a shell starts in the background ignores Ctrl-C, and so do the tests then
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(inputs: Path, output: Path, **how: Any) -> tuple[int, str]:
    with start(inputs, output, **how) as process:
        _, said = process.communicate()
    return process.returncode, said


def wait_for_lines(output: Path, count: int, process: subprocess.Popen[str]) -> None:
    path = output / "pictures.jsonl"
    while not path.exists() or path.read_bytes().count(b'{"of"') < count:
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.02)


def results(output: Path) -> dict[str, bytes]:
    return {name: (output / name).read_bytes() for name in RESULTS}


@pytest.fixture(scope="module")
def undisturbed(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    assert run(inputs, output) == (0, "")
    return results(output)


@pytest.mark.long
@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)]
)
def test_an_evaluation_that_was_stopped_goes_on_to_the_same_bytes(
    how: signal.Signals, code: int, inputs: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    with start(inputs, tmp_path / "out") as process:
        wait_for_lines(tmp_path / "out", 8, process)
        process.send_signal(how)
        _, said = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in said
    assert not (tmp_path / "out" / "evaluation.json").exists()
    begun = (tmp_path / "out" / "pictures.jsonl").read_bytes()
    assert 8 <= begun.count(b'{"of"') < 4 * SEEDS
    assert run(inputs, tmp_path / "out") == (0, "")
    assert results(tmp_path / "out") == undisturbed


@pytest.mark.long
def test_of_two_evaluations_into_one_folder_the_second_is_refused(
    inputs: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    lock = tmp_path / "out" / ".evaluation.lock"
    with start(inputs, tmp_path / "out", seconds=600) as first:
        while not lock.exists() or not lock.read_text():
            assert first.poll() is None, first.stderr and first.stderr.read()
            time.sleep(0.02)
        code, said = run(inputs, tmp_path / "out")
        first.kill()
    assert code == 2
    assert f"another evaluation writes into {tmp_path / 'out'}: process {first.pid}" in said
    assert run(inputs, tmp_path / "out") == (0, "")
    assert results(tmp_path / "out") == undisturbed


@pytest.mark.long
@pytest.mark.parametrize("room", [500, 4000], ids=lambda room: f"{room} bytes")
def test_a_full_disk_is_named_and_what_was_measured_is_kept(
    room: int, inputs: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    code, said = run(inputs, tmp_path / "out", preexec_fn=full)
    assert code == 1
    assert f"error: cannot write {tmp_path / 'out' / 'pictures.jsonl'}" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out" / "evaluation.json").exists()
    assert run(inputs, tmp_path / "out") == (0, "")
    assert results(tmp_path / "out") == undisturbed

"""Stopped at any moment, the same command finishes the work: same samples, same bytes."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.engine_build import build_here
from support.engine_process import digests, processes_of, start, wait_for_parts, wait_for_ray
from support.engine_stages import write_recipe

from imig.checks.dataset import validate_dataset


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(recipe, dataset folder) of a build that nobody stopped."""
    folder = tmp_path_factory.mktemp("undisturbed")
    recipe = write_recipe(folder)
    build_here(folder / "d", recipe, ray=False)
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
        process = start(output, recipe, seconds=0.003, ray=False)
        wait_for_parts(output, 1 + kills, process)
        time.sleep(generator.uniform(0, 0.15))
        process.kill()
        process.communicate()
        kills += 1
        # Half a shard is never seen: what has a shard's name is the final shard.
        for path in output.glob("*.tar"):
            assert path.read_bytes() == (expected / path.name).read_bytes()
    build_here(output, recipe, ray=False)
    assert digests(output) == digests(expected)
    assert not (output / ".build").exists()


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
        pytest.param(
            Stop(signal.SIGINT, to_group=True, twice=True),
            id="impatient-ctrl-c",
            marks=pytest.mark.long,
        ),
        pytest.param(Stop(signal.SIGTERM), id="sigterm", marks=pytest.mark.long),
        pytest.param(
            Stop(signal.SIGTERM, parts=0), id="sigterm-while-ray-starts", marks=pytest.mark.long
        ),
    ],
)
def test_a_signal_stops_cleanly(undisturbed: tuple[Path, Path], tmp_path: Path, stop: Stop) -> None:
    recipe, expected = undisturbed
    output = tmp_path / "d"
    process = start(output, recipe, seconds=0.05, ray=True)
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
    build_here(output, recipe, ray=False)
    assert digests(output) == digests(expected)

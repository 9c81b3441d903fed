"""Limits of stretches of work that follow one another: who hangs in one is ended, nobody else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from imig.engine.watching import MARK


@pytest.mark.parametrize(
    ("work", "ended"),
    [
        pytest.param("for _ in range(5): limits.begin(1); sleep(0.3)", False, id="all-short"),
        pytest.param("limits.begin(9); limits.begin(0.3); sleep(3)", True, id="a-shorter-limit"),
        pytest.param("limits.begin(0.3); limits.begin(9); sleep(1)", False, id="a-longer-limit"),
        pytest.param(
            "for _ in range(5): limits.begin(1); sleep(0.3)\nsleep(3)", True, id="the-last-hangs"
        ),
        pytest.param("limits.begin(0.3); limits.stop(); sleep(1)", False, id="a-pause"),
        pytest.param(
            "limits.begin(0.3); limits.stop(); limits.begin(0.3); sleep(3)", True, id="after-it"
        ),
    ],
)
def test_only_a_stretch_that_takes_too_long_ends_the_process(work: str, ended: bool) -> None:
    code = (
        "from time import sleep\nfrom imig.engine.watching import TimeLimits\n"
        f"limits = TimeLimits()\n{work}\nlimits.stop()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == int(ended), done.stderr
    assert (MARK in done.stderr) == ended

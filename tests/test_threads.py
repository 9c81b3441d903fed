"""Threads of PyTorch sleep while they wait, unless a user says otherwise; workers limit them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMAND_THEN_TORCH = """
from imig.cli import main
main(["recipes"])
import torch
"""
LIMIT = """
from imig.threads import limit_threads
{first}
import os, torch
print(torch.get_num_threads(), os.environ["OMP_NUM_THREADS"])
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: PyTorch reads the environment once, when it is loaded."""
    clean = {name: one for name, one in os.environ.items() if not name.startswith("OMP_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="how libgomp reports its settings")
@pytest.mark.parametrize(
    ("given", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")]
)
def test_waiting_threads_of_a_command_sleep_unless_the_user_says_otherwise(
    given: dict[str, str], policy: str
) -> None:
    done = run(COMMAND_THEN_TORCH, OMP_DISPLAY_ENV="TRUE", **given)
    assert f"OMP_WAIT_POLICY = '{policy}'" in done.stderr


@pytest.mark.parametrize(
    "first", ["limit_threads(1)", "import torch; torch.set_num_threads(4); limit_threads(1)"]
)
def test_a_limit_holds_whether_torch_is_loaded_or_not(first: str) -> None:
    assert run(LIMIT.format(first=first), OMP_NUM_THREADS="3").stdout.split() == ["1", "1"]

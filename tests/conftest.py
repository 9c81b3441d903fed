"""Lets tests import helpers as `support.<module>`; says what is quick and in which order files run.

`--fast` leaves out what needs Ray or a model, and does not even import it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS))

NOT_FAST = frozenset(
    {
        "builds",
        "contextgen",
        "endpoint",
        "engine/test_engine_build.py",
        "engine/test_engine_cluster.py",
        "engine/test_engine_fitting.py",
        "engine/test_engine_kill.py",
        "engine/test_engine_state_files.py",
        "estimate",
        "fuzz/test_fuzz_adapters.py",
        "fuzz/test_fuzz_mutants.py",
        "models",
        "stages/test_stages_sharing.py",
        "test_benchmark_full_size_cost.py",
        "test_benchmark_gpu.py",
        "test_benchmark_learning.py",
        "test_benchmark_released.py",
        "test_benchmark_suite.py",
        "test_benchmark_train_step.py",
        "test_outputs.py",
        "test_threads.py",
        "tiny",
        "training",
    }
)
"""Folders and files whose tests need Ray or a model; elsewhere single tests are marked `model`."""

OTHER_SIDE = "other_side"
"""Needs packages that `make test-interop` installs into an environment of their own."""

NOT_IMPORTED = ("ray", "transformers", "diffusers", "open_clip", "dlib")
"""What a fast test has no need of, and what takes seconds to import."""


# Fuzzing: the same few cases in every run of the suite; `make test-all` looks further, with
# --hypothesis-profile=long. A busy machine is no reason to fail, hence no deadline.
settings.register_profile(
    "short", derandomize=True, database=None, max_examples=40, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.register_profile(
    "long", max_examples=5_000, deadline=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.load_profile("short")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only what needs neither Ray nor a model")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if not collection_path.is_relative_to(TESTS):
        return None
    name = collection_path.relative_to(TESTS).as_posix()
    return name == OTHER_SIDE or (config.getoption("--fast") and name in NOT_FAST) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    from support.schedule import place_of

    if config.getoption("--fast"):
        left_out = [one for one in items if one.get_closest_marker("model")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [one for one in items if not one.get_closest_marker("model")]
    items.sort(key=lambda one: place_of(one.nodeid))


@pytest.fixture(autouse=True)
def _stays_fast(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nobody notices otherwise that a test has come to need a model."""
    yield
    if request.config.getoption("--fast"):
        found = [name for name in NOT_IMPORTED if name in sys.modules]
        assert not found, f"imports {found}: mark it `model`, or list its file in {__file__}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from support.schedule import UnitScheduling

    return UnitScheduling(config, log)

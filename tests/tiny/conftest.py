"""Pools of a few real scenes, drawn once for all tests of the trainings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.tiny.common import Workshop
from tools.tiny.pool import HELD_OUT_SEED, PoolRecipe


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A workshop of 8 scenes whose trainings last 2 steps."""
    folder: Path = tmp_path_factory.mktemp("workshop")
    return Workshop(
        cache=folder / "cache",
        output=folder / "weights",
        processes=1,
        steps_scale=1e-9,
        training=PoolRecipe(count=8),
        held_out=PoolRecipe(count=3, combinations="all", first_seed=HELD_OUT_SEED),
        novel=PoolRecipe(count=3, combinations="novel", first_seed=HELD_OUT_SEED + 1_000_000),
    )

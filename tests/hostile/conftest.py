"""One bench for all faults of a module: xdist runs each module on one core."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.hostile.bench import Bench, open_bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(tmp_path_factory.mktemp("hostile")) as bench:
        yield bench

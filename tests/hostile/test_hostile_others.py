"""All other faults against every command, each in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.hostile.bench import Bench
from support.hostile.planted import PlantedFault
from support.hostile.table import ELSEWHERE

pytestmark = pytest.mark.long


@pytest.mark.parametrize("fault", ELSEWHERE, ids=lambda one: one.kind)
def test_every_command_answers_as_the_table_says(
    bench: Bench, tmp_path: Path, fault: PlantedFault
) -> None:
    found = bench.complaints_about(fault, tmp_path)
    assert not found, "\n".join(found)

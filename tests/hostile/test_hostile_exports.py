"""Faults of whole datasets against exports and the card, each in its own process."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.hostile.bench import Bench
from support.hostile.planted import PlantedFault
from support.hostile.table import FAULTS

pytestmark = pytest.mark.long


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda one: one.kind)
def test_exports_and_the_card_end_in_words(
    bench: Bench, tmp_path: Path, fault: PlantedFault
) -> None:
    found = bench.lasting(fault, tmp_path)
    assert not found, "\n".join(found)

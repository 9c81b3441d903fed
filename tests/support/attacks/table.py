"""All attacks, and those of them that `make test` plays."""

from __future__ import annotations

from collections import Counter
from typing import Final

from support.attacks import evaluating, exporting, importing
from support.attacks.attack import Attack

ATTACKS: Final[tuple[Attack, ...]] = (
    *importing.each(),
    *exporting.each(),
    *evaluating.each(),
)
EVERY: Final = 41
"""One attack of so many is in the sample."""
SAMPLE: Final = tuple(one for one in ATTACKS[::EVERY] if not one.is_heavy)

assert max(Counter(one.id for one in ATTACKS).values()) == 1, "an id stands twice"

"""What tabletop draws under a revision stays what it is: the same recipe gives the same dataset."""

from __future__ import annotations

import numpy as np
from support.tabletop_pictures import read, summary


def test_what_is_drawn_is_what_the_revision_drew() -> None:
    """Where it is meant to change: a new value of `imig.tabletop.revision.REVISION`, and
    `python -m support.tabletop_pictures` in `tests/`.
    """
    for now, then in zip(summary(), read(), strict=True):
        difference = np.subtract(now.pop("colours"), then.pop("colours"))
        assert abs(difference).max() <= 1, now["name"]  # a rounding, on another processor
        assert now == then

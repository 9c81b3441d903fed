"""A layout image composed by `imig.layout` and by the released trainer's way.

Four references of 512 px on a canvas of 768 px, of noise, which hides nothing from a resampler, on
one thread. Each side starts with decoded pictures as it keeps them, and ends with the layout as it
hands it on: ours bytes of Pillow and NumPy, the released way float tensors.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import get_args

import numpy as np
import torch
from PIL import Image

from benchmarks import released_layout
from benchmarks.released_layout import ReleasedReference
from benchmarks.suite.rows import Bar, Row
from benchmarks.suite.turns import seconds_in_turn
from imig.layout.composition import LayoutReference, compose_layout
from imig.layout.placement import Fit

CANVAS = (768, 768)
REFERENCE = 512
BOXES = (
    (20.0, 30.0, 400.0, 420.0),
    (380.0, 40.0, 740.0, 400.0),
    (60.0, 400.0, 420.0, 740.0),
    (400.0, 380.0, 750.0, 750.0),
)
BAR = Bar(at_least=5)


def measure(*, small: bool) -> list[Row]:
    """A row for each fit; `ratio` is the released way's time over ours."""
    torch.set_num_threads(1)
    return [_row(fit, repeats=2 if small else 50) for fit in get_args(Fit)]


def references(fit: Fit) -> list[LayoutReference]:
    """Subjects that fill most of their pictures."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:REFERENCE, :REFERENCE] + 0.5
    mask = ((x - 256) / 200) ** 2 + ((y - 256) / 230) ** 2 < 1
    pixels = rng.integers(0, 256, (len(BOXES), REFERENCE, REFERENCE, 3), dtype=np.uint8)
    return [LayoutReference(Image.fromarray(one), mask, fit=fit) for one in pixels]


def released(given: Sequence[LayoutReference]) -> list[ReleasedReference]:
    """The same references as the released loader has them."""
    return [
        ReleasedReference(
            torch.from_numpy(np.array(one.image)).permute(2, 0, 1).float() / 127.5 - 1,
            torch.from_numpy(one.mask),
            fit=one.fit,
        )
        for one in given
    ]


def _row(fit: Fit, *, repeats: int) -> Row:
    ours = references(fit)
    theirs = released(ours)
    order = range(len(BOXES))
    seconds = seconds_in_turn(
        {
            "ours": partial(compose_layout, ours, BOXES, order, size=CANVAS),
            "theirs": partial(released_layout.compose, theirs, BOXES, order, size=CANVAS),
        },
        repeats=repeats,
        clock=time.process_time,
    )
    return Row(
        part="layout_composition",
        case=f"{fit}, 4 references",
        unit="ms",
        ours=seconds["ours"] * 1000,
        theirs=seconds["theirs"] * 1000,
        against="peer: the released trainer's way",
        ratio=seconds["theirs"] / seconds["ours"],
        bar=BAR,
    )

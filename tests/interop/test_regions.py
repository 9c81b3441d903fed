"""Regions that annotation tools give back: what would take all memory is named."""

from __future__ import annotations

import pytest

from imig.errors import DataError
from imig.interop.regions import polygon_to_mask
from imig.schema import Scene, Source


def test_an_endless_outline_is_named() -> None:
    """A few megabytes of corners, of which a rasteriser would make hundreds of gigabytes."""
    source = Source(kind="file", path="a.jpg")
    scene = Scene(id="a", subset="basic", width=4096, height=64, source=source, seed=1)
    points = [(4096.0 * (number % 2), float(number % 64)) for number in range(2000)]
    with pytest.raises(DataError, match=r"its outline is .* pixels long, more than"):
        polygon_to_mask(points, scene)
    assert polygon_to_mask([(-9e9, 0), (9e9, 0), (9e9, 64), (0, 64)], scene) is not None

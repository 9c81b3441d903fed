"""A crop goes back where it was cut out, to the pixel."""

from __future__ import annotations

import numpy as np
from PIL import Image

from imig.layout.composition import compose_layout
from imig.layout.placement import Rectangle
from imig.layout.put_back import put_back


def drawn(image: Image.Image, place: Rectangle, *, size: tuple[int, int]) -> np.ndarray:
    mask = np.ones((image.height, image.width), dtype=bool)
    reference, placed_at = put_back(image, mask, place=place, canvas_size=size)
    return compose_layout([reference], [placed_at], [0], size=size)


def test_at_its_own_size_nothing_is_resampled() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (12, 9, 3), dtype=np.uint8)
    # The last bit of a box, scaled by some factor and back, does not cost a row.
    for error in (0.0, 1e-12, -1e-12):
        place = (5 + error, 3 + error, 14 - error, 15 - error)
        canvas = drawn(Image.fromarray(noise), place, size=(32, 24))
        np.testing.assert_array_equal(canvas[3:15, 5:14], noise)
        assert (canvas != 128).any(axis=2).sum() <= 12 * 9


def test_only_whole_pixels_are_covered() -> None:
    canvas = drawn(Image.new("RGB", (40, 40), (9, 9, 9)), (2.4, 3.6, 10.4, 11.6), size=(16, 16))
    rows, columns = np.nonzero((canvas == 9).all(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 10, 3, 9)


def test_what_reaches_far_beyond_the_canvas_costs_nothing() -> None:
    halves = Image.new("RGB", (2, 1), (9, 9, 9))
    halves.putpixel((1, 0), (200, 0, 0))
    canvas = drawn(halves, (-1e5, -1e5, 1e5 + 16, 1e5 + 16), size=(16, 16))
    assert canvas[0, 0, 0] < canvas[0, 15, 0]
    off = drawn(halves, (20, 20, 30, 30), size=(16, 16))
    assert (off == 128).all()
    speck = drawn(halves, (3.2, 3.2, 3.9, 3.9), size=(16, 16))  # placed as by image-fit
    assert (speck != 128).any(axis=2).sum() <= 2

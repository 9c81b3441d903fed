"""Copying: what is nearer to the reference than to the truth, in angles and in pixels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imig.evaluation.metrics.copying import copying, pixel_likeness


def direction(degrees: float) -> NDArray[np.float32]:
    angle = np.radians(degrees)
    return np.array([np.cos(angle), np.sin(angle)], np.float32)


@pytest.mark.parametrize(
    ("drawn", "given", "truth", "expected"),
    [
        (0, 0, 60, 1.0),
        (60, 0, 60, -1.0),
        (30, 0, 60, 0.0),
        (20, 0, 60, 1 / 3),
        (120, 0, 60, -1.0),
        (7, 30, 30, None),
    ],
    ids=["the reference", "the truth", "between", "nearer", "beyond the truth", "no angle"],
)
def test_copying(drawn: float, given: float, truth: float, expected: float | None) -> None:
    found = copying(direction(drawn), direction(given), direction(truth))
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-3))


def resized(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask at another size."""
    return np.asarray(Image.fromarray(mask.view(np.uint8) * np.uint8(255)).resize(size)) > 127


def thing(seed: int, size: tuple[int, int] = (48, 48)) -> tuple[Image.Image, NDArray[np.bool_]]:
    """A blob with a texture of its own."""
    width, height = size
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize(size, Image.Resampling.NEAREST)
    y, x = np.mgrid[:height, :width]
    mask = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) < 0.2
    return image, mask


def test_a_copy_is_alike_whatever_its_size() -> None:
    assert pixel_likeness(thing(1), thing(1)) == pytest.approx(1)
    image, mask = thing(1)
    larger = image.resize((120, 120), Image.Resampling.LANCZOS)
    larger_mask = resized(mask, (120, 120))
    assert pixel_likeness((larger, larger_mask), thing(1)) > 0.9


def test_another_texture_or_outline_is_not() -> None:
    assert pixel_likeness(thing(1), thing(2)) < 0.3
    image, mask = thing(1)
    half = mask.copy()
    half[:, 24:] = False
    assert pixel_likeness((image, half), (image, mask)) < 0.6


def test_an_empty_mask_is_the_whole_picture() -> None:
    image, mask = thing(1)
    assert pixel_likeness((image, np.zeros_like(mask)), (image, None)) == pytest.approx(1)

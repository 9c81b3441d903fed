"""Lanczos in PyTorch: Pillow's picture, nearly to the bit, in whatever form it comes."""

import numpy as np
import pytest
from PIL import Image

from imig.layout import lanczos
from imig.layout.lanczos import resize_lanczos

SIZES = [((40, 30), (20, 15)), ((33, 47), (64, 96)), ((200, 100), (50, 64)), ((1, 9), (16, 16))]


def picture(size: tuple[int, int], channels: int) -> np.ndarray:
    """Soft shapes with some noise: what a photograph has, without steps that ring."""
    generator = np.random.default_rng(channels)
    small = Image.fromarray(generator.integers(0, 256, (5, 5, channels), dtype=np.uint8).squeeze())
    noise = generator.integers(0, 9, (size[1], size[0], channels), dtype=np.uint8).squeeze()
    smooth = np.asarray(small.resize(size, Image.Resampling.BICUBIC))
    return (smooth // 2 + noise.reshape(smooth.shape)).astype(np.uint8)


@pytest.mark.parametrize(("size", "new"), SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_pillows(size: tuple[int, int], new: tuple[int, int], channels: int) -> None:
    pixels = picture(size, channels)
    resized = resize_lanczos(pixels, new)
    wanted = Image.fromarray(pixels).resize(new, Image.Resampling.LANCZOS)
    assert resized.shape == np.asarray(wanted).shape
    assert resized.flags.writeable
    difference = np.abs(resized.astype(int) - np.asarray(wanted).astype(int))
    assert difference.max() <= 2
    assert difference.mean() < 0.6


def test_the_same_size_is_a_copy() -> None:
    pixels = picture((20, 10), 3)
    copy = resize_lanczos(pixels, (20, 10))
    assert np.array_equal(copy, pixels)
    copy[:] = 0
    assert pixels.any()


def test_without_torchs_lanczos_pillow_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanczos, "_torch_has_lanczos", lambda: False)
    pixels = picture((40, 30), 3)
    wanted = Image.fromarray(pixels).resize((20, 15), Image.Resampling.LANCZOS, reducing_gap=3.0)
    assert np.array_equal(resize_lanczos(pixels, (20, 15)), np.asarray(wanted))

"""References at the size at which the model sees them, without their background."""

import numpy as np
import pytest
from PIL import Image

from imig.layout.reference_size import picture_size, prepare_reference, reference_size


def test_picture_sizes() -> None:
    assert picture_size(256, 256, target_width=768) == (768, 768)
    assert picture_size(1000, 667, target_width=768) == (768, 512)
    assert picture_size(1000, 2, target_width=192) == (192, 16)
    assert picture_size(256, 256, target_width=203) == (208, 208)
    assert picture_size(3, 1000) == (16, 992)


def test_reference_sizes() -> None:
    assert reference_size(100, 100, side=512) == (512, 512)
    assert reference_size(640, 480, side=512) == (592, 448)
    # Long ones end at one token's breadth, and never get more than the area.
    assert reference_size(1, 100_000, side=512) == (16, 16_384)
    assert reference_size(5, 5, side=1) == (16, 16)
    assert reference_size(200, 100, side=96) == (128, 64)
    for width, height in ((33, 90), (200, 31), (1024, 1000)):
        new_width, new_height = reference_size(width, height, side=512)
        assert new_width % 16 == new_height % 16 == 0
        assert 0.9 < new_width * new_height / 512**2 < 1.1
        assert new_width / new_height == pytest.approx(width / height, rel=0.08)


def test_a_prepared_reference_has_nothing_of_its_background() -> None:
    image = Image.new("RGB", (100, 100), (0, 255, 0))
    mask = np.zeros((100, 100), dtype=bool)
    mask[30:70, 20:80] = True
    image.paste((200, 30, 20), (20, 30, 80, 70))
    pixels, inside = prepare_reference(image, mask, side=64)
    assert (pixels[~inside] == 128).all()
    assert inside.mean() == pytest.approx(0.24, abs=0.02)
    assert pixels[..., 1].max() <= 140  # the green of the background is nowhere
    speck = np.zeros((100, 100), dtype=bool)
    speck[99, 0] = True
    assert prepare_reference(image, speck, side=16)[1].tolist()[15][0] is True
    assert not prepare_reference(image, np.zeros_like(speck), side=16)[1].any()
    with pytest.raises(ValueError, match="its mask"):
        prepare_reference(image, mask[:50], side=64)


def test_a_thread_keeps_some_of_its_mask() -> None:
    mask = np.zeros((400, 400), dtype=bool)
    mask[200, 50:350] = True
    _, small = prepare_reference(Image.new("RGB", (400, 400)), mask, side=96)
    assert small.any()

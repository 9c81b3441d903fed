import numpy as np
import pytest
from PIL import Image
from support.tiny_dataset import make_sample

from imig.duplicates.perceptual_hash import perceptual_hash
from imig.sample import decode_image, image_to_jpeg


def distance(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def test_it_survives_scaling_and_compression_and_tells_pictures_apart() -> None:
    picture = make_sample(0).target().resize((300, 200), Image.Resampling.BICUBIC)
    same = decode_image(image_to_jpeg(picture.resize((150, 100)), quality=60))
    mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    value = perceptual_hash(picture)
    assert len(value) == 16
    assert distance(value, perceptual_hash(same)) <= 4
    assert distance(value, perceptual_hash(mirrored)) > 16


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_any_mode_has_a_hash(mode: str) -> None:
    assert len(perceptual_hash(make_sample(0).target().convert(mode))) == 16


def test_plain_pictures_have_no_bits_of_rounding_errors() -> None:
    values = [perceptual_hash(Image.new("RGB", (50, 40), (c, c, c))) for c in (0, 77, 255)]
    assert values == ["0000000000000000", "8000000000000000", "8000000000000000"]


def test_it_equals_the_hash_of_the_package_imagehash() -> None:
    """Computed once with imagehash 4.3.2 of the same picture (drawn here, no file needed)."""
    y, x = np.mgrid[0:96, 0:128]
    picture = Image.fromarray((127 + 80 * np.sin(x / 9) * np.cos(y / 7) + x / 3).astype(np.uint8))
    assert perceptual_hash(picture) == "a807f807f8f807f8"

"""Area and bounds from run lengths: those of the decoded mask, and nothing of a malformed one."""

import numpy as np
import pytest
from support.run_lengths import pixels_in_counts

from imig.errors import DataError
from imig.layout.masks import mask_to_box, mask_to_rle, rle_to_mask
from imig.layout.run_lengths import MaskExtent, mask_extents
from imig.schema import MaskRLE


def random_mask(seed: int) -> np.ndarray:
    """Speckles, blobs, whole and empty ones, those that touch an edge."""
    generator = np.random.default_rng(seed)
    height, width = (int(side) for side in generator.integers(1, 70, 2))
    mask = np.zeros((height, width), dtype=bool)
    kind = seed % 5
    if kind == 0:
        mask = generator.random((height, width)) < generator.random()
    elif kind == 1:
        y, x = int(generator.integers(height)), int(generator.integers(width))
        mask[y : y + 20, x : x + 9] = True
    elif kind == 2:
        mask[:] = True
    elif kind == 3:
        mask[int(generator.integers(height)), int(generator.integers(width))] = True
    return mask


def expected(mask: np.ndarray) -> MaskExtent:
    return MaskExtent(int(mask.sum()), mask_to_box(mask))


def test_extents_are_those_of_the_pixels() -> None:
    masks = [random_mask(seed) for seed in range(400)]
    rles = [mask_to_rle(one) for one in masks]
    wanted = [expected(one) for one in masks]
    assert [mask_extents([one])[0] for one in rles] == wanted
    assert mask_extents(rles) == wanted
    assert mask_extents([]) == []
    large = np.zeros((3000, 2000), dtype=bool)
    large[10:2990, 1:1999] = True
    assert mask_extents([mask_to_rle(large)]) == [expected(large)]


@pytest.mark.parametrize(
    "counts", ["", "0", "o", "P", "`0", "é", "\x00", "oooooooooooooooo0", "50N5", " ", "1\n"]
)
def test_malformed_run_lengths_are_none_and_spoil_no_other(counts: str) -> None:
    bad, good = MaskRLE(size=(6, 7), counts=counts), random_mask(0)
    with pytest.raises(DataError):
        rle_to_mask(bad)
    assert mask_extents([mask_to_rle(good), bad, mask_to_rle(good)]) == [
        expected(good),
        None,
        expected(good),
    ]


def test_random_strings_are_judged_as_a_plain_reader_judges_them() -> None:
    generator = np.random.default_rng(0)
    valid = 0
    for _ in range(8000):
        counts = "".join(map(chr, generator.integers(47, 70, generator.integers(1, 5))))
        rle = MaskRLE(size=(3, int(generator.integers(1, 8))), counts=counts)
        if pixels_in_counts(counts) == rle.size[0] * rle.size[1]:
            assert mask_extents([rle]) == [expected(rle_to_mask(rle))]
            valid += 1
        else:
            assert mask_extents([rle]) == [None]
    assert valid > 50

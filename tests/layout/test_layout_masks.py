import numpy as np
import pytest

from imig.errors import DataError
from imig.layout import masks
from imig.schema import MaskRLE


def random_mask(rng: np.random.Generator) -> np.ndarray:
    height, width = rng.integers(1, 70, 2)
    blobs = rng.random((height, width))
    return np.asarray(blobs > rng.choice([0.02, 0.5, 0.98]))


def test_run_lengths_round_trip() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        mask = random_mask(rng)
        rle = masks.mask_to_rle(mask)
        assert rle.size == mask.shape
        assert rle.counts.isascii()
        np.testing.assert_array_equal(masks.rle_to_mask(rle), mask)


def test_all_clear_and_all_set_round_trip() -> None:
    for mask in (np.zeros((300, 200), dtype=bool), np.ones((300, 200), dtype=bool)):
        np.testing.assert_array_equal(masks.rle_to_mask(masks.mask_to_rle(mask)), mask)


def test_damaged_run_lengths_are_an_error_not_a_crash() -> None:
    good = masks.mask_to_rle(np.eye(20, dtype=bool))
    damaged = [
        good.model_copy(update={"size": (20, 21)}),
        good.model_copy(update={"counts": good.counts[:-3]}),
        good.model_copy(update={"counts": good.counts + "o"}),
        good.model_copy(update={"counts": "é" + good.counts}),
        good.model_copy(update={"counts": ""}),
        MaskRLE(size=(1, 5), counts=""),
    ]
    for rle in damaged:
        with pytest.raises(DataError, match="run lengths"):
            masks.rle_to_mask(rle)


def test_box_of_a_mask_is_tight() -> None:
    mask = np.zeros((10, 20), dtype=bool)
    assert masks.mask_to_box(mask) is None
    mask[3, 4] = mask[7, 15] = True
    assert masks.mask_to_box(mask) == (4, 3, 16, 8)
    assert masks.mask_area(mask) == 2


def test_clipping_clears_only_the_outside() -> None:
    mask = np.ones((10, 10), dtype=bool)
    clipped = masks.clip_mask_to_box(mask, (2, 3, 5, 7))
    assert masks.mask_to_box(clipped) == (2, 3, 5, 7)
    assert mask.all()


def test_iou() -> None:
    a = np.zeros((4, 4), dtype=bool)
    assert masks.mask_iou(a, a) == 0.0
    b = a.copy()
    a[:2], b[1:3] = True, True
    assert masks.mask_iou(a, b) == pytest.approx(1 / 3)


def test_box_coverage_looks_at_width_and_height_apart() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:20, 10:15] = True
    assert masks.box_coverage(mask, (10, 10, 20, 20)) == (0.5, 1.0)
    assert masks.box_coverage(mask, (30, 30, 40, 40)) == (0.0, 0.0)


def test_despeckle_drops_specks_fills_pinholes_and_leaves_the_rest() -> None:
    mask = np.zeros((60, 60), dtype=bool)
    mask[10:50, 10:30] = True
    mask[10:50, 34:50] = True  # a second real piece stays
    clean = mask.copy()
    mask[20:22, 20:22] = False  # a pinhole
    mask[2, 2] = True  # a speck
    mask[15:40, 38:46] = clean[15:40, 38:46] = False  # a real hole stays, like a mug's handle
    np.testing.assert_array_equal(masks.despeckle(mask), clean)
    for edge in (np.ones((5, 5), dtype=bool), np.zeros((5, 5), dtype=bool)):
        np.testing.assert_array_equal(masks.despeckle(edge), edge)

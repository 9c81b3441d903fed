import numpy as np
import pytest
from PIL import Image, ImageFilter

from imig.layout.composition import LayoutReference, compose_layout
from imig.layout.layering import layer_order, layer_priorities
from imig.layout.sharpness import laplacian_variance


def square(colour: str) -> LayoutReference:
    return LayoutReference(
        Image.new("RGB", (40, 40), colour),
        np.ones((40, 40), dtype=bool),
        fit="instance-fit-distort",
    )


def test_the_nearer_instance_hides_the_farther_one() -> None:
    layout = compose_layout(
        [square("red"), square("blue")], [(0, 0, 30, 30), (20, 20, 50, 50)], [1, 0], size=(60, 50)
    )
    assert layout.shape == (50, 60, 3)
    assert layout.dtype == np.uint8
    assert layout[25, 25].tolist() == [255, 0, 0]
    assert layout[45, 45].tolist() == [0, 0, 255]
    assert layout[5, 55].tolist() == [128, 128, 128]
    assert (layout == [255, 0, 0]).all(axis=2).sum() == 30 * 30
    assert (layout == [0, 0, 255]).all(axis=2).sum() == 30 * 30 - 10 * 10


def test_references_outside_the_order_are_left_out_and_numbers_must_agree() -> None:
    layout = compose_layout([square("red")], [(0, 0, 10, 10)], [], size=(20, 20))
    assert (layout == 128).all()
    with pytest.raises(ValueError, match="1 references and 0 boxes"):
        compose_layout([square("red")], [], [0], size=(20, 20))


def test_containers_are_drawn_before_what_they_contain() -> None:
    rng = np.random.default_rng(0)
    for seed in range(40):
        boxes = [[0, 0, 100, 100], [10, 10, 90, 90], [30, 30, 50, 50], [120, 0, 200, 100]]
        shuffled = rng.permutation(4)
        order = layer_order([boxes[i] for i in shuffled], size=(200, 100), seed=seed)
        drawn = [int(shuffled[i]) for i in order]
        assert drawn.index(0) < drawn.index(1) < drawn.index(2)
        assert sorted(drawn) == [0, 1, 2, 3]


def test_large_is_drawn_before_small_and_the_seed_decides_the_rest() -> None:
    apart = [[0, 0, 20, 20], [100, 0, 190, 90], [30, 30, 70, 70]]
    assert layer_order(apart, size=(200, 100), seed=1) == [1, 2, 0]
    equal = [[i * 30, 0, i * 30 + 20, 20] for i in range(6)]
    orders = {tuple(layer_order(equal, size=(200, 100), seed=seed)) for seed in range(8)}
    assert len(orders) > 1
    assert layer_order(equal, size=(200, 100), seed=3) == layer_order(
        equal, size=(200, 100), seed=3
    )
    assert layer_order([], size=(10, 10), seed=0) == []


def test_priority_is_the_papers_formula() -> None:
    boxes = [[0, 0, 10, 10], [5, 0, 15, 10]]
    found = layer_priorities(boxes, size=(20, 10), seed=7)
    draw = np.random.default_rng(7).random(2)
    np.testing.assert_allclose(found, 0.5 + 0.25 * (1 - 1 / 3) + 0.1 * draw)


def test_blurring_lowers_sharpness_and_a_mask_looks_only_inside() -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).convert("RGB")
    assert laplacian_variance(noise.filter(ImageFilter.GaussianBlur(1.5))) < 0.1 * (
        laplacian_variance(noise)
    )
    assert laplacian_variance(Image.new("RGB", (20, 20), "white")) == 0.0
    half = noise.copy()
    half.paste((90, 90, 90), (0, 0, 32, 64))
    flat = np.zeros((64, 64), dtype=bool)
    flat[2:62, 2:30] = True
    assert laplacian_variance(half, flat) == 0.0
    assert laplacian_variance(half, ~flat) > 0.1
    assert laplacian_variance(half, np.zeros((64, 64), dtype=bool)) == 0.0

import json
from typing import Any

import numpy as np
import pytest
from support.golden import golden_file

from imig.layout import boxes


@pytest.fixture(scope="module")
def golden() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(golden_file("boxes.json").read_text())
    return cases


def cxcywh_to_xyxy(given: list[list[float]]) -> np.ndarray:
    """Centre and size, as grounding models answer -> corners."""
    array = boxes.as_boxes(given)
    half = array[:, 2:] / 2
    return np.concatenate([array[:, :2] - half, array[:, :2] + half], axis=1)


def random_boxes(rng: np.random.Generator, count: int, *, size: int = 100) -> np.ndarray:
    corners = rng.integers(0, size, (count, 2, 2))
    first, second = corners.min(axis=1), corners.max(axis=1) + 1
    return np.concatenate([first, second], axis=1)


def test_clean_up_agrees_with_the_released_pipeline(golden: list[dict[str, Any]]) -> None:
    for case in golden:
        size = {"width": case["width"], "height": case["height"]}
        pixels = cxcywh_to_xyxy(case["boxes_cxcywh"]) * [*size.values(), *size.values()]
        keep = boxes.size_filter(
            pixels, **size, min_side_fraction=1 / 16, min_area_fraction=1 / 200
        )
        assert keep.tolist() == case["passes_size_filter"]
        assert boxes.clean_boxes(pixels, case["scores"], **size).tolist() == case["kept"]


def test_pixel_boxes_agree_with_the_released_ones_inside_the_image(
    golden: list[dict[str, Any]],
) -> None:
    # Outside they differ on purpose: the released code shifts a box back into the image, off its
    # object; we clip it.
    for case in golden:
        size = np.array([case["width"], case["height"]] * 2)
        ours = cxcywh_to_xyxy(case["boxes_cxcywh"]) * size
        inside = (ours >= 0).all(axis=1) & (ours <= size - 1).all(axis=1)
        released = np.array(case["boxes_px_xyxy"])
        assert np.abs(ours - released)[inside].max(initial=0) <= 1.5


def test_iou_equals_counting_pixels() -> None:
    rng = np.random.default_rng(0)
    first, second = random_boxes(rng, 12), random_boxes(rng, 9)

    def paint(box: np.ndarray) -> np.ndarray:
        canvas = np.zeros((110, 110), dtype=bool)
        canvas[box[1] : box[3], box[0] : box[2]] = True
        return canvas

    for i, a in enumerate(first):
        for j, b in enumerate(second):
            shared, union = (paint(a) & paint(b)).sum(), (paint(a) | paint(b)).sum()
            assert boxes.iou(first, second)[i, j] == pytest.approx(shared / union)
            assert boxes.containment(first, second)[i, j] == pytest.approx(shared / paint(a).sum())


def test_nothing_in_gives_nothing_out() -> None:
    assert boxes.iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert boxes.clean_boxes([], [], width=10, height=10).shape == (0,)
    assert boxes.relations([]) == []
    assert boxes.parents([]) == []


def test_empty_boxes_divide_by_nothing() -> None:
    assert boxes.iou([[5, 5, 5, 9]], [[5, 5, 5, 9]]).tolist() == [[0.0]]
    assert boxes.containment([[5, 5, 5, 9]], [[0, 0, 9, 9]]).tolist() == [[0.0]]


def test_suppression_leaves_no_pair_above_the_threshold_and_drops_no_lone_box() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        candidates, scores = random_boxes(rng, 40), rng.random(40)
        kept = boxes.non_maximum_suppression(candidates, scores, iou=0.4)
        assert (np.diff(scores[kept]) <= 0).all()
        overlap = boxes.iou(candidates, candidates)
        assert overlap[np.ix_(kept, kept)][~np.eye(len(kept), dtype=bool)].max(initial=0) <= 0.4
        for dropped in set(range(40)) - set(kept.tolist()):
            better = [k for k in kept if scores[k] >= scores[dropped]]
            assert overlap[dropped, better].max() > 0.4


def test_a_long_thin_box_stays_a_speck_goes() -> None:
    keep = boxes.size_filter(
        [[0, 0, 400, 10], [0, 0, 20, 20]],
        width=400,
        height=400,
        min_side_fraction=1 / 16,
        min_area_fraction=1 / 200,
    )
    assert keep.tolist() == [True, False]


def test_clean_up_keeps_at_most_max_boxes() -> None:
    apart = [[50 * i, 0, 50 * i + 40, 40] for i in range(12)]
    scores = np.linspace(0.4, 0.9, 12)
    kept = boxes.clean_boxes(apart, scores, width=600, height=40, max_boxes=5)
    assert kept.tolist() == [11, 10, 9, 8, 7]


def test_parents_and_relations_name_containment_once_and_overlap_once() -> None:
    house, window, tree, far = [0, 0, 60, 60], [10, 10, 20, 20], [50, 0, 90, 60], [95, 0, 99, 5]
    layout = [window, house, tree, far]
    assert boxes.parents(layout) == [1, None, None, None]
    found = [(r.kind, r.subject, r.object) for r in boxes.relations(layout)]
    assert found == [("contains", 1, 0), ("overlaps", 1, 2)]


def test_the_parent_is_the_smallest_container_and_equal_boxes_make_no_cycle() -> None:
    assert boxes.parents([[0, 0, 90, 90], [0, 0, 50, 50], [5, 5, 9, 9]]) == [None, 0, 1]
    assert boxes.parents([[0, 0, 9, 9], [0, 0, 9, 9]]) == [None, 0]

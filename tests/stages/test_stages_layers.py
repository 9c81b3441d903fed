import itertools

import numpy as np
from PIL import Image, ImageDraw

from imig.layout.masks import Mask, mask_to_box
from imig.schema import Box
from imig.stages.layers import convex_hull, layer_order, occluded_fractions, visible_masks
from imig.tabletop import render_scene, sample_scene


def filled(box: Box, *, without: Box | None = None) -> Mask:
    mask = np.zeros((40, 40), dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    if without is not None:
        mask[without[1] : without[3], without[0] : without[2]] = False
    return mask


def test_owner_of_the_contested_region_is_nearer() -> None:
    boxes: list[Box] = [(0, 0, 20, 20), (10, 5, 30, 15)]
    masks = [filled(boxes[0], without=boxes[1]), filled(boxes[1])]
    assert layer_order(boxes, masks) == [0, 1]
    assert layer_order(boxes, [filled(boxes[0]), filled(boxes[1], without=boxes[0])]) == [1, 0]


def test_equal_shares_go_to_the_lower_edge() -> None:
    boxes: list[Box] = [(10, 5, 30, 25), (0, 0, 20, 20)]
    assert layer_order(boxes, [filled(box) for box in boxes]) == [1, 0]


def test_contained_instances_come_after_their_parent() -> None:
    boxes: list[Box] = [(5, 5, 15, 15), (0, 0, 30, 30), (6, 6, 10, 10)]
    masks = [filled(boxes[0], without=boxes[2]), filled(boxes[1]), filled(boxes[2])]
    assert layer_order(boxes, masks) == [1, 0, 2]
    # Even where the parent claims every contested pixel.
    assert layer_order(boxes, [masks[2], masks[1], masks[2]])[0] == 1


def test_a_ring_is_broken_at_one_place_only() -> None:
    # Three woven bars: 0 lies over 1, 1 over 2, 2 over 0.
    diagonal = Image.new("1", (40, 40))
    ImageDraw.Draw(diagonal).line([(0, 36), (36, 0)], fill=1, width=6)
    bars = [filled((0, 5, 40, 11)), filled((5, 0, 11, 40)), np.asarray(diagonal)]
    masks = [bars[0] & ~bars[2], bars[1] & ~bars[0], bars[2] & ~bars[1]]
    boxes = [box for mask in masks if (box := mask_to_box(mask)) is not None]
    order = layer_order(boxes, masks)
    nearer = [(0, 1), (1, 2), (2, 0)]
    assert sum(order.index(a) < order.index(b) for a, b in nearer) == 1


def test_hull_of_a_notched_square_is_the_square_and_a_line_is_itself() -> None:
    square = filled((5, 5, 25, 25))
    assert (convex_hull(square & ~filled((10, 5, 20, 20))) == square).all()
    line = filled((3, 3, 9, 4))
    assert (convex_hull(line) == line).all()


def test_visible_masks_are_disjoint_and_occlusion_counts_boxes() -> None:
    boxes: list[Box] = [(0, 0, 20, 20), (10, 0, 30, 20)]
    masks = [filled(box) for box in boxes]
    visible = visible_masks(masks, [1, 0])
    assert not (visible[0] & visible[1]).any()
    assert (visible[0] == masks[0]).all()
    assert ((visible[0] | visible[1]) == (masks[0] | masks[1])).all()
    assert occluded_fractions(boxes, visible, [1, 0]) == [0.0, 0.5]
    assert (layer_order([], []), visible_masks([], []), occluded_fractions([], [], [])) == (
        [], [], [],
    )  # fmt: skip


def test_agrees_with_tabletops_truth_where_one_hides_another() -> None:
    agreed = pairs = 0
    for seed in range(40):
        truth = render_scene(sample_scene(seed, width=128, height=128, instances=(4, 6))).instances
        order = layer_order([one.box for one in truth], [one.mask for one in truth])
        for a, b in itertools.combinations(range(len(truth)), 2):
            if (truth[a].full_mask & truth[b].full_mask).sum() < 20:
                continue
            pairs += 1
            agreed += (truth[a].layer < truth[b].layer) == (order.index(a) < order.index(b))
    assert pairs >= 40
    assert agreed / pairs > 0.9, f"{agreed} of {pairs}"

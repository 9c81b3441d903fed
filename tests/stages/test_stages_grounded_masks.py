"""Masks that a grounder gives with its boxes: `ground` keeps them, `segment` makes do with them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.model_doubles import ColourSegmenter, FixedGrounder, GivenSegmenter
from support.tabletop_samples import tabletop_sample

from imig.layout.masks import rle_to_mask
from imig.recipe.parts import ModelConfig
from imig.sample import Sample
from imig.schema import Instance
from imig.stages.base import BuildContext
from imig.stages.ground import GroundConfig, GroundStage
from imig.stages.instances import set_instances
from imig.stages.segment import SegmentConfig, SegmentStage

CONTEXT = BuildContext(recipe_seed=0, subset="basic")
PHRASES = ["right thing", "left thing", "no thing", "left thing again"]
SCORES = [0.9, 0.6, 0.8, 0.5]


def candidates(sample: Sample) -> tuple[list[list[float]], NDArray[np.bool_]]:
    """Boxes at the right, at the left, of a mask wholly elsewhere, and one that is suppressed."""
    width, height = sample.scene.width, sample.scene.height
    boxes = [
        [0.5 * width, 0.2 * height, 0.9 * width, 0.8 * height],
        [0.1 * width, 0.3 * height, 0.6 * width, 0.9 * height],
        [0.0, 0.0, 0.3 * width, 0.3 * height],
        [0.1 * width, 0.3 * height, 0.6 * width, 0.91 * height],
    ]
    draw = np.random.default_rng(0)
    masks = np.zeros((4, height, width), np.bool_)
    for mask, box in zip(masks, boxes, strict=True):
        x1, y1, x2, y2 = (int(edge) for edge in box)
        mask[y1 : y2 + 9, x1 : x2 + 9] = True  # leaks out of its box
        mask[draw.integers(y1, y2, 40), draw.integers(x1, x2, 40)] = False  # pinholes
    masks[2] = False
    masks[2, -5:, -5:] = True
    return boxes, masks


def grounded() -> tuple[Sample, NDArray[np.bool_]]:
    sample = tabletop_sample(0)
    sample.scene.nouns = list(PHRASES)
    boxes, masks = candidates(sample)
    grounder = FixedGrounder(boxes, SCORES, PHRASES, masks=masks)
    GroundStage(GroundConfig(), CONTEXT, models={"model": grounder})([sample])
    assert [one.phrase for one in sample.scene.instances] == [
        "no thing",
        "left thing",
        "right thing",
    ]
    return sample, masks[[2, 1, 0]]


def segment(sample: Sample, **settings: Any) -> list[Instance]:
    SegmentStage(SegmentConfig(model=None, **settings), CONTEXT)([sample])
    return sample.scene.instances


def test_masks_are_kept_as_the_model_gave_them_and_forgotten_after_use() -> None:
    sample, masks = grounded()
    names = [one.identity_id for one in sample.scene.instances]
    assert list(sample.grounded_masks) == names
    for name, mask in zip(names, masks, strict=True):
        assert (rle_to_mask(sample.grounded_masks[name]) == mask).all()
    segment(sample)
    assert sample.grounded_masks == {}


@pytest.mark.parametrize("settings", [{}, {"clip_to_box": False}, {"min_score": 0.7}], ids=str)
@pytest.mark.parametrize("sent", [False, True], ids=["one-worker", "another-worker"])
def test_they_are_cleaned_as_those_of_a_segmenter(settings: dict[str, Any], sent: bool) -> None:
    sample, masks = grounded()
    if sent:
        sample = pickle.loads(pickle.dumps(sample))
    other, _ = grounded()
    segmenter = GivenSegmenter(masks, [0.8, 0.6, 0.9])  # the boxes' scores
    SegmentStage(SegmentConfig(**settings), CONTEXT, models={"model": segmenter})([other])
    found = segment(sample, **settings)
    assert [one.phrase for one in found] == [one.phrase for one in other.scene.instances]
    for own, expected in zip(found, other.scene.instances, strict=True):
        assert own.mask == expected.mask
        assert own.box == expected.box
        assert own.segmentation is not None
        assert expected.segmentation is not None
        assert own.segmentation.score == expected.segmentation.score
        assert own.segmentation.model == FixedGrounder.name


def test_a_stage_between_may_drop_and_add_instances() -> None:
    sample, _ = grounded()
    added = sample.scene.instances[1].model_copy(deep=True, update={"identity_id": "new"})
    set_instances(sample, [added, sample.scene.instances[2]], layer_order=[])
    assert [one.phrase for one in segment(sample)] == ["right thing"]


def test_a_segmenter_takes_their_place() -> None:
    sample, _ = grounded()
    SegmentStage(SegmentConfig(), CONTEXT, models={"model": ColourSegmenter()})([sample])
    assert sample.grounded_masks == {}
    for one in sample.scene.instances:
        assert one.segmentation is not None
        assert one.segmentation.model == ColourSegmenter.name


def test_a_snapshot_has_them() -> None:
    sample, _ = grounded()
    restore = sample.snapshot()
    kept = dict(sample.grounded_masks)
    segment(sample)
    assert restore().grounded_masks == kept


@pytest.mark.parametrize(
    ("family", "gives"), [("sam3", True), ("grounding-dino", False), ("no-such-family", False)]
)
def test_ground_says_whether_it_writes_masks(family: str, gives: bool) -> None:
    stage = GroundStage(GroundConfig(model=ModelConfig(family=family)), CONTEXT)
    assert ("grounded masks" in stage.writes) == gives


def test_segment_reads_them_where_it_has_no_model() -> None:
    without = SegmentStage(SegmentConfig(model=None), CONTEXT)
    assert "grounded masks" in without.reads
    assert without.models() == []
    assert "grounded masks" not in SegmentStage(SegmentConfig(), CONTEXT).reads

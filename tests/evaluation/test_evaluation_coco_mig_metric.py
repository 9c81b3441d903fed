"""COCO-MIG's success rule, case by case, with models that answer what the case says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.model_doubles import ColourSegmenter

from imig.errors import UsageError
from imig.evaluation.case import Case, CaseInstance
from imig.evaluation.look import Seen
from imig.evaluation.metrics.base import Values
from imig.evaluation.metrics.coco_mig import CocoMigConfig, CocoMigMetric
from imig.models.protocols import GroundedBoxes, SegmentedMasks

SIDE = 100
RED, BLUE, GREY = (220, 20, 20), (30, 60, 210), (127, 127, 127)
Found = dict[str, list[tuple[tuple[float, ...], float]]]
"""Noun -> boxes and scores."""
LEFT, RIGHT = (0.0, 0.0, 50.0, 100.0), (50.0, 0.0, 100.0, 100.0)


@dataclass
class NounGrounder:
    """Finds the boxes that are given for a noun; keeps what it was asked."""

    found: Found
    name: str = "double:grounder"
    asked: list[list[str]] = field(default_factory=list)
    thresholds: set[tuple[float, float]] = field(default_factory=set)

    def ground(
        self,
        images: Sequence[Image.Image],
        phrases: Sequence[Sequence[str]],
        *,
        box_threshold: float,
        text_threshold: float,
    ) -> list[GroundedBoxes]:
        self.thresholds.add((box_threshold, text_threshold))
        self.asked += [list(one) for one in phrases]
        return [self._answer(one) for one in phrases]

    def _answer(self, phrases: Sequence[str]) -> GroundedBoxes:
        found = [one for phrase in phrases for one in self.found.get(phrase, [])]
        return GroundedBoxes(
            boxes=np.array([box for box, _ in found], np.float32).reshape(-1, 4),
            scores=np.array([score for _, score in found], np.float32),
            phrases=[""] * len(found),
        )


class BoxSegmenter:
    """The mask of a box is the box; its best proposal is the upper tenth of it alone."""

    name = "double:segmenter"

    def __init__(self) -> None:
        self.boxes: list[NDArray[np.float32]] = []

    def segment(
        self, images: Sequence[Image.Image], boxes: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        return self._segment(boxes, part=1.0)

    def segment_best(
        self, images: Sequence[Image.Image], boxes: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        return self._segment(boxes, part=0.1)

    def _segment(
        self, boxes: Sequence[NDArray[np.float32]], *, part: float
    ) -> list[SegmentedMasks]:
        self.boxes += list(boxes)
        answers = []
        for own in boxes:
            masks = np.zeros((len(own), SIDE, SIDE), np.bool_)
            for mask, (x1, y1, x2, y2) in zip(masks, own.astype(int), strict=True):
                mask[y1 : y1 + round((y2 - y1) * part), x1:x2] = True
            answers.append(SegmentedMasks(masks, np.ones(len(own), np.float32)))
        return answers


def case(*instances: tuple[str, str, tuple[float, float, float, float]]) -> Case:
    """Of (colour, noun, box)."""
    return Case(
        id="0",
        caption="",
        size=(SIDE, SIDE),
        instances=tuple(
            CaseInstance(
                phrase=f"a {colour} {noun}", noun=noun, box=box, attributes={"colour": colour}
            )
            for colour, noun, box in instances
        ),
    )


TWO = case(("red", "mug", LEFT), ("blue", "ball", RIGHT))


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> Image.Image:
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[:, :50], pixels[:, 50:] = left, right
    return Image.fromarray(pixels)


def measure(
    found: Found,
    *,
    image: Image.Image | None = None,
    asked: Case = TWO,
    config: CocoMigConfig | None = None,
) -> Values:
    metric = CocoMigMetric(
        config or CocoMigConfig(masks="single"),
        loaded={"ground_model": NounGrounder(found), "segment_model": BoxSegmenter()},
    )
    metric.setup()
    return metric([Seen(asked, image or halves(RED, BLUE), ())])[0]


RIGHT_PLACE: Found = {"mug": [(LEFT, 0.9)], "ball": [(RIGHT, 0.9)]}


@pytest.mark.parametrize(
    ("found", "image", "success", "iou", "coloured"),
    [
        pytest.param(RIGHT_PLACE, halves(RED, BLUE), [1, 1], [1, 1], [1, 1], id="all right"),
        pytest.param(
            RIGHT_PLACE, halves(BLUE, BLUE), [0, 1], [0, 1], [0, 1],
            id="a wrong colour takes the IoU, too",
        ),
        pytest.param(
            {"mug": [(LEFT, 0.9)]}, halves(RED, BLUE), [1, 0], [1, 0], [1, None], id="not found"
        ),
        pytest.param(
            {**RIGHT_PLACE, "ball": [((50, 0, 70, 100), 0.9)]}, halves(RED, RED),
            [1, 0], [1, 0.4], [1, None],
            id="a low IoU stays as it is, whatever the colour",
        ),
        pytest.param(
            {**RIGHT_PLACE, "ball": [((50, 0, 75, 100), 0.9)]}, halves(RED, BLUE),
            [1, 1], [1, 0.5], [1, 1],
            id="an IoU of just one half is in place",
        ),
        pytest.param(
            {**RIGHT_PLACE, "mug": [(RIGHT, 0.9), (LEFT, 0.3)]}, halves(RED, BLUE),
            [1, 1], [1, 1], [1, 1],
            id="the best IoU counts, not the best score",
        ),
        pytest.param(
            {**RIGHT_PLACE, "mug": [((0, 0, 45, 100), 0.9), (LEFT, 0.3)]}, halves(RED, BLUE),
            [1, 1], [0.9, 1], [1, 1],
            id="a box that a better one overlaps by more than 0.8 is suppressed first",
        ),
    ],
)  # fmt: skip
def test_an_instance_is_judged_as_the_released_rule_says(
    found: Found,
    image: Image.Image,
    success: list[int],
    iou: list[float],
    coloured: list[int | None],
) -> None:
    values = measure(found, image=image)
    assert values["mig_success"] == success
    assert values["mig_iou"] == pytest.approx(iou)
    assert values["mig_coloured"] == coloured
    assert values["mig_all_success"] == [float(all(success))]


def test_two_instances_of_a_kind_may_share_one_detection() -> None:
    both = case(("red", "mug", LEFT), ("red", "mug", (5.0, 0.0, 50.0, 100.0)))
    values = measure({"mug": [(LEFT, 0.9)]}, asked=both)
    assert values["mig_success"] == [1, 1]
    assert values["mig_iou"] == pytest.approx([1, 0.9])


def test_the_noun_alone_is_looked_for_once_a_picture_and_each_by_itself() -> None:
    grounder = NounGrounder(RIGHT_PLACE)
    metric = CocoMigMetric(
        CocoMigConfig(masks="single"),
        loaded={"ground_model": grounder, "segment_model": BoxSegmenter()},
    )
    metric.setup()
    three = case(("red", "mug", LEFT), ("blue", "ball", RIGHT), ("green", "mug", RIGHT))
    metric([Seen(three, halves(RED, BLUE), ()), Seen(TWO, halves(RED, BLUE), ())])
    assert grounder.asked == [["mug"], ["ball"], ["mug"], ["ball"]]
    assert grounder.thresholds == {(0.25, 0.25)}


def test_the_colour_is_that_of_the_wanted_box_and_not_of_the_one_found() -> None:
    # found further to the left, where all is grey
    wanted = case(("red", "mug", (40.0, 0.0, 100.0, 100.0)))
    image = halves(GREY, RED)
    values = measure({"mug": [((20, 0, 100, 100), 0.9)]}, asked=wanted, image=image)
    assert values["mig_success"] == [1]
    # 10 of 60 columns of the wanted box: less than a fifth
    swapped = halves(RED, GREY)
    assert measure({"mug": [((20, 0, 100, 100), 0.9)]}, asked=wanted, image=swapped)[
        "mig_success"
    ] == [0]


@pytest.mark.parametrize(("masks", "right"), [("single", 1.0), ("best", 0.0)])
def test_the_segmenters_best_proposal_decides_where_it_is_asked_for(
    masks: str, right: float
) -> None:
    image = halves(RED, BLUE)
    image.paste(GREY, (0, 0, SIDE, 10))  # all that the best proposal has
    values = measure(
        RIGHT_PLACE, image=image, config=CocoMigConfig.model_validate({"masks": masks})
    )
    assert values["mig_success"] == [right, right]


def test_only_instances_in_place_are_segmented() -> None:
    segmenter = BoxSegmenter()
    metric = CocoMigMetric(
        CocoMigConfig(),
        loaded={"ground_model": NounGrounder({"ball": [(RIGHT, 0.5)]}), "segment_model": segmenter},
    )
    metric.setup()
    metric([Seen(TWO, halves(RED, BLUE), ())])
    assert [one.tolist() for one in segmenter.boxes] == [[list(RIGHT)]]


def test_a_segmenter_without_proposals_is_said_before_anything_is_measured() -> None:
    metric = CocoMigMetric(
        CocoMigConfig(),
        loaded={"ground_model": NounGrounder({}), "segment_model": ColourSegmenter()},
    )
    with pytest.raises(UsageError, match="makes no proposals"):
        metric.setup()


def test_a_case_without_colours_or_boxes_is_not_measured() -> None:
    metric = CocoMigMetric(CocoMigConfig())
    assert metric.lacks(TWO) is None
    assert metric.lacks(case(("purple", "mug", LEFT))) is not None

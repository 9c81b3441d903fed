"""The figures of the grounder, on answers made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tools.tiny.grounding_figures import Detections, figures, held_out_prompt, swapped_attribute
from tools.tiny.pool import PoolScene

BOXES = [[10.0, 10.0, 50.0, 50.0], [60.0, 60.0, 100.0, 100.0]]
PHRASES = ["plain red mug", "dotted blue car"]


def scene(phrases: list[str] = PHRASES) -> PoolScene:
    return PoolScene(
        seed=3,
        image=np.zeros((128, 128, 3), np.uint8),
        owners=np.zeros((128, 128), np.uint8),
        boxes=np.array(BOXES, np.float32),
        phrases=phrases,
        nouns=[p.split()[-1] for p in phrases],
        occluded_fractions=np.zeros(2, np.float32),
        identities=[],
        caption="",
        simple_caption="",
        style="studio",
    )


def answer(boxes: list[list[float]], scores: list[list[float]]) -> Detections:
    table = torch.tensor(scores)
    return Detections(
        boxes=torch.tensor(boxes),
        scores={"max": table, "mean": table, "min": table},
        phrases=[*PHRASES, "striped red mug"],
        scene=scene(),
    )


def test_right_answers_score_one() -> None:
    found = figures(
        [answer(BOXES, [[0.9, 0.1, 0.1], [0.1, 0.8, 0.1]])],
        threshold=0.35,
    )
    assert found["recall"] == found["precision"] == found["box IoU"] == 1.0
    assert found["false alarms"] == 0.0
    assert found["recall, 2 instances"] == 1.0


@pytest.mark.parametrize(
    ("box", "scores", "error"),
    [
        (BOXES[0], [0.6, 0.0, 0.0], "twice"),
        (BOXES[0], [0.0, 0.6, 0.0], "another's phrase"),
        (BOXES[1], [0.0, 0.0, 0.6], "absent phrase"),
        ([0.0, 100.0, 20.0, 120.0], [0.6, 0.0, 0.0], "nothing there"),
    ],
)
def test_every_wrong_box_costs_precision_and_is_named(
    box: list[float], scores: list[float], error: str
) -> None:
    found = figures(
        [answer([*BOXES, box], [[0.9, 0.1, 0.1], [0.1, 0.8, 0.1], scores])], threshold=0.35
    )
    assert found["recall"] == 1.0
    assert found["precision"] == pytest.approx(2 / 3)
    assert found[f"wrong boxes, {error}"] == pytest.approx(1 / 3)
    assert found["false alarms"] == (1.0 if error == "absent phrase" else 0.0)
    assert found["false alarms, pattern"] == found["false alarms"]


def test_boxes_below_the_threshold_do_not_count() -> None:
    found = figures([answer(BOXES, [[0.9, 0.1, 0.1], [0.1, 0.3, 0.1]])], threshold=0.35)
    assert found["recall"] == 0.5
    assert found["precision"] == 1.0


def test_prompt_asks_for_all_phrases_and_two_absent_ones_and_repeats_itself() -> None:
    asked = held_out_prompt(scene())
    assert asked == held_out_prompt(scene())
    assert asked[:2] == PHRASES
    assert len(set(asked)) == 4


def test_swapped_attribute_is_the_one_that_differs() -> None:
    assert swapped_attribute("striped red mug", PHRASES) == "pattern"
    assert swapped_attribute("plain green mug", PHRASES) == "colour"
    assert swapped_attribute("dotted blue ball", PHRASES) == "kind"
    assert swapped_attribute("striped green tree", PHRASES) == "several"


def test_suppression_leaves_out_a_worse_box_in_the_same_place() -> None:
    twice = answer([BOXES[0], [11.0, 10.0, 51.0, 50.0]], [[0.9, 0.1, 0.1], [0.5, 0.1, 0.1]])
    assert figures([twice], threshold=0.35)["precision"] == 0.5
    assert figures([twice], threshold=0.35, nms_iou=0.625)["precision"] == 1.0

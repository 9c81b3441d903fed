"""Subjects looked for one by one, and what `identity` measures of things alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image
from support.model_doubles import MeanColourEmbedder

from imig.evaluation.case import Case, CaseInstance, CaseReference, Mask
from imig.evaluation.look import FoundInstance, LookConfig, Seen, look
from imig.evaluation.metrics.identity import IdentityConfig, IdentityMetric
from imig.models.protocols import GroundedBoxes, SegmentedMasks

BOXES = {
    "a red mug": ([[0, 0, 20, 20], [40, 40, 60, 60]], [0.6, 0.9]),
    "a mug": ([[40, 40, 60, 60]], [0.8]),
    "a duck": ([], []),
}


class Grounder:
    """Boxes by phrase, and a note of what it was asked for at once."""

    name = "double:grounder"

    def __init__(self) -> None:
        self.asked: list[list[list[str]]] = []

    def ground(
        self,
        images: Sequence[Image.Image],
        phrases: Sequence[Sequence[str]],
        *,
        box_threshold: float,
        text_threshold: float,
    ) -> list[GroundedBoxes]:
        self.asked.append([list(one) for one in phrases])
        found = []
        for own in phrases:
            rows = [
                (box, score, phrase)
                for phrase in own
                for box, score in zip(*BOXES[phrase], strict=True)
            ]
            found.append(
                GroundedBoxes(
                    np.array([one[0] for one in rows], np.float32).reshape(-1, 4),
                    np.array([one[1] for one in rows], np.float32),
                    [one[2] for one in rows],
                )
            )
        return found


class Segmenter:
    name = "double:segmenter"

    def segment(
        self, images: Sequence[Image.Image], boxes: Sequence[np.ndarray]
    ) -> list[SegmentedMasks]:
        return [
            SegmentedMasks(np.ones((len(one), 80, 100), bool), np.ones(len(one), np.float32))
            for one in boxes
        ]


def case(*phrases: str) -> Case:
    instances = tuple(CaseInstance(one, box=(0, 0, 20, 20)) for one in phrases)
    return Case(id="a", caption="", size=(100, 80), instances=instances)


def boxes(cases: Sequence[Case], *, each_alone: bool) -> tuple[list[list[object]], Grounder]:
    grounder = Grounder()
    config = LookConfig(text="phrase", each_alone=each_alone)
    seen = look(
        cases,
        [Image.new("RGB", (100, 80))] * len(cases),
        config=config,
        grounder=grounder,
        segmenter=Segmenter(),
    )
    return [[None if f is None else f.box for f in one.found] for one in seen], grounder


def test_each_alone_is_what_scores_best_whatever_the_others_are() -> None:
    found, grounder = boxes([case("A red mug", "a mug", "a duck")], each_alone=True)
    assert found == [[(40, 40, 60, 60), (40, 40, 60, 60), None]]
    assert grounder.asked == [[["a red mug"]], [["a mug"]], [["a duck"]]]


def test_pictures_of_different_numbers_keep_their_own() -> None:
    found, grounder = boxes([case("a mug"), case("a duck", "a red mug")], each_alone=True)
    assert found == [[(40, 40, 60, 60)], [None, (40, 40, 60, 60)]]
    assert grounder.asked == [[["a mug"], ["a duck"]], [["a red mug"]]]


def test_together_the_wanted_place_decides() -> None:
    found, grounder = boxes([case("a red mug")], each_alone=False)
    assert found == [[(0, 0, 20, 20)]]
    assert grounder.asked == [[["a red mug"]]]


def identity(**config: object) -> dict[str, list[float | None]]:
    """Of a picture with a person and a thing, both red where they are; the rest is blue."""

    def red() -> tuple[Image.Image, Mask | None]:
        return Image.new("RGB", (10, 10), (200, 0, 0)), None

    references = (CaseReference(name="red", read=red),)
    wanted = tuple(
        CaseInstance(kind, kind=kind, references=references) for kind in ("person", "object")
    )
    image = Image.new("RGB", (100, 80), (0, 0, 200))
    image.paste((200, 0, 0), (40, 20, 80, 60))
    found = FoundInstance((40, 20, 80, 60), 0.9, None, np.ones((80, 100), bool))
    seen = Seen(dataclasses.replace(case(), instances=wanted), image, (found, found))
    metric = IdentityMetric(
        IdentityConfig.model_validate(config), loaded={"model": MeanColourEmbedder()}
    )
    (values,) = metric([seen])
    return {name: list(one) for name, one in values.items()}


def test_people_are_left_to_their_faces() -> None:
    assert identity(of="objects", margin=0)["identity"] == [None, pytest.approx(1.0)]
    assert identity(margin=0)["identity"] == pytest.approx([1.0, 1.0])


def test_without_a_margin_nothing_beside_the_box_counts() -> None:
    shown = identity(of="objects", margin=0.2)["identity"][1]
    assert shown is not None
    assert shown < 0.99


def test_a_case_in_another_size_has_its_boxes_there() -> None:
    larger = case("a mug").in_size((200, 80))
    assert larger.size == (200, 80)
    assert larger.instances[0].box == pytest.approx((0, 0, 40, 20))
    assert case("a mug").in_size((100, 80)) == case("a mug")

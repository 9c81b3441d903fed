"""What is seen of a picture, for all metrics: each subject's box and mask, found once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic import Field
from scipy.optimize import linear_sum_assignment

from imig.evaluation.case import Case, CaseInstance, Mask
from imig.layout.boxes import iou, non_maximum_suppression
from imig.models.protocols import Grounder, Segmenter
from imig.recipe.parts import Fraction, ModelConfig, RecipePart
from imig.schema import Box
from imig.stages.base import Uses

_SCORE = 1e-3
"""What a detection's score weighs beside an IoU: it decides among boxes that overlap nothing."""


class LookConfig(RecipePart):
    """How subjects are looked for."""

    ground_model: Annotated[ModelConfig, Uses(Grounder)] = ModelConfig(family="grounding-dino")
    segment_model: Annotated[ModelConfig, Uses(Segmenter)] = ModelConfig(family="segment-anything")
    text: Literal["noun", "phrase", "both"] = Field(
        default="noun",
        description="What is looked for. noun: the thing alone, so that a wrong colour or a "
        "stranger of the same kind does not count as a wrong place; phrase: all of it; both: one "
        "after the other, and whatever is found is a thing of that noun.",
    )
    box_threshold: Fraction = Field(default=0.35, description="Released pipeline: 0.35.")
    text_threshold: Fraction = Field(default=0.25, description="Released pipeline: 0.25.")
    nms_iou: Fraction = Field(default=0.625, description="Released pipeline: 0.625.")


@dataclass(frozen=True)
class FoundInstance:
    """A subject found in a picture."""

    box: Box
    """Pixels of the case's size."""
    score: float
    """Of the detection."""
    iou: float | None
    """With the wanted box; None where no place was asked for."""
    mask: Mask
    """(height, width) of the picture."""


@dataclass(frozen=True)
class Seen:
    """A picture of a case, and what was found in it."""

    case: Case
    image: Image
    """RGB, in the case's size."""
    found: tuple[FoundInstance | None, ...]
    """One for each instance of the case; None: it was not found. Empty where nobody looked."""


def look(
    cases: Sequence[Case],
    images: Sequence[Image],
    *,
    config: LookConfig,
    grounder: Grounder,
    segmenter: Segmenter,
) -> list[Seen]:
    """Find each case's subjects in its picture.

    A detection stands for one instance at most: of all ways to deal them out the one with the
    largest sum of IoUs is taken, so that two mugs that changed places are both in place (who they
    are, identity says).
    """
    found: list[list[_Candidate]] = [[] for _ in cases]
    for wordings in _wordings(cases, config):
        answers = grounder.ground(
            images,
            [sorted(one) for one in wordings],
            box_threshold=config.box_threshold,
            text_threshold=config.text_threshold,
        )
        for candidates, answer, own in zip(found, answers, wordings, strict=True):
            candidates += [
                _Candidate(box, float(score), own[phrase])
                for box, score, phrase in zip(
                    answer.boxes, answer.scores, answer.phrases, strict=True
                )
                if phrase in own
            ]
    dealt = [
        _deal(candidates, case.instances, config=config)
        for candidates, case in zip(found, cases, strict=True)
    ]
    boxes = [
        np.array([one[0] for one in own if one is not None], np.float32).reshape(-1, 4)
        for own in dealt
    ]
    masks = [iter(one.masks) for one in segmenter.segment(images, boxes)]
    return [
        Seen(
            case=case,
            image=image,
            found=tuple(
                None if one is None else FoundInstance(*one, mask=next(own_masks)) for one in own
            ),
        )
        for case, image, own, own_masks in zip(cases, images, dealt, masks, strict=True)
    ]


class _Candidate(NamedTuple):
    """A detection."""

    box: NDArray[np.float32]
    score: float
    thing: str
    """Of the instances that it may stand for."""


def _thing(instance: CaseInstance, config: LookConfig) -> str:
    """What instances have in common that one detection may stand for."""
    return (instance.phrase if config.text == "phrase" else instance.thing).lower()


def _wordings(cases: Sequence[Case], config: LookConfig) -> Iterator[list[dict[str, str]]]:
    """For each look at all pictures, what each is searched for: text -> thing."""
    if config.text in ("noun", "both"):
        yield [{one.thing.lower(): _thing(one, config) for one in case.instances} for case in cases]
    if config.text in ("phrase", "both"):
        yield [
            {one.phrase.lower(): _thing(one, config) for one in case.instances} for case in cases
        ]


_Dealt = tuple[Box, float, float | None]
"""(box, score, IoU)"""


def _deal(
    candidates: Sequence[_Candidate], instances: Sequence[CaseInstance], *, config: LookConfig
) -> list[_Dealt | None]:
    """A detection for each instance, or None."""
    dealt: list[_Dealt | None] = [None] * len(instances)
    things = [_thing(one, config) for one in instances]
    for thing in sorted(set(things)):
        wanted = [i for i, one in enumerate(things) if one == thing]
        there = [one for one in candidates if one.thing == thing]
        boxes = np.array([one.box for one in there], np.float32).reshape(-1, 4)
        scores = np.array([one.score for one in there])
        kept = non_maximum_suppression(boxes, scores, iou=config.nms_iou)
        whole, scores = np.round(boxes[kept]).astype(np.int64), scores[kept]
        overlaps = _overlaps([instances[i] for i in wanted], whole)
        gain = np.nan_to_num(overlaps) + _SCORE * scores
        for row, column in zip(*linear_sum_assignment(gain, maximize=True), strict=True):
            box: Box = tuple(whole[column].tolist())
            overlap = float(overlaps[row, column])
            score = float(scores[column])
            dealt[wanted[row]] = (box, score, None if np.isnan(overlap) else overlap)
    return dealt


def _overlaps(instances: Sequence[CaseInstance], boxes: NDArray[np.int64]) -> NDArray[np.float64]:
    """(instances, boxes): IoU with the wanted box; NaN where no place was asked for."""
    rows = [
        np.full(len(boxes), np.nan) if one.box is None else iou([one.box], boxes)[0]
        for one in instances
    ]
    return np.array(rows, dtype=np.float64).reshape(len(instances), len(boxes))

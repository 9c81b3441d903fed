"""match: candidates and references, as figures and as samples."""

import numpy as np
import pytest
from support.generator_doubles import DiscGenerator, disc_boxes
from support.model_doubles import ColourSegmenter, FixedGrounder, MeanColourEmbedder

from imig.sample import Sample
from imig.schema import Box, Scene, Source, Subject
from imig.stages.base import BuildContext
from imig.stages.compose import ComposeConfig, ComposeStage
from imig.stages.draw import DrawConfig, DrawStage
from imig.stages.ground import GroundConfig, GroundStage
from imig.stages.match import MatchConfig, MatchStage, choose_matches
from imig.stages.reground import RegroundConfig, RegroundStage
from imig.stages.segment import SegmentConfig, SegmentStage
from imig.stages.write import WriteConfig, WriteStage

CONTEXT = BuildContext(recipe_seed=0, subset="flexible")
LEFT: Box = (0, 0, 40, 100)
RIGHT: Box = (60, 0, 100, 100)
NEARLY_LEFT: Box = (0, 0, 42, 100)


def chosen(
    cosines: list[list[float]],
    boxes: list[Box],
    *,
    faces: list[Box | None] | None = None,
    **settings: float,
) -> list[tuple[int, int]]:
    table = np.array(cosines, np.float32)
    matches = choose_matches(
        table,
        boxes=boxes,
        faces=faces or [None] * len(cosines),
        config=MatchConfig.model_validate(settings),
    )
    return [(one.view, one.candidate) for one in matches]


def test_the_best_candidate_of_each_reference_is_taken() -> None:
    assert chosen([[0.6, 0.9], [0.8, 0.7]], [LEFT, RIGHT]) == [(0, 1), (1, 0)]


def test_below_the_threshold_there_is_no_match() -> None:
    assert chosen([[0.6, 0.4], [0.1, 0.49]], [LEFT, RIGHT]) == [(0, 0)]
    assert chosen([[0.6, 0.4], [0.1, 0.49]], [LEFT, RIGHT], min_dino=0.3) == [(0, 0), (1, 1)]


def test_two_references_never_share_a_candidate_and_the_better_keeps_it() -> None:
    assert chosen([[0.8, 0.1], [0.9, 0.1]], [LEFT, RIGHT]) == [(1, 0)]


def test_duplicates_among_boxes_are_removed() -> None:
    assert chosen([[0.8, 0.1], [0.1, 0.9]], [LEFT, NEARLY_LEFT]) == [(1, 1)]
    both = chosen([[0.8, 0.1], [0.1, 0.9]], [LEFT, NEARLY_LEFT], max_box_iou=0.99)
    assert both == [(0, 0), (1, 1)]


def test_the_candidate_that_contains_the_recognised_face_wins() -> None:
    face: Box = (70, 10, 80, 20)
    table = [[0.9, 0.2], [0.6, 0.1]]
    assert chosen(table, [LEFT, RIGHT], faces=[face, None]) == [(0, 1), (1, 0)]
    outside: Box = (45, 10, 55, 20)  # in no candidate: DINO decides
    assert chosen(table, [LEFT, RIGHT], faces=[outside, None])[0] == (0, 0)


def test_of_boxes_around_the_face_the_tightest_wins() -> None:
    whole: Box = (0, 0, 100, 100)
    assert chosen([[0.9, 0.2]], [whole, RIGHT], faces=[(70, 10, 80, 20)]) == [(0, 1)]


def test_one_face_is_not_two_people() -> None:
    face: Box = (10, 10, 20, 20)
    boxes: list[Box] = [LEFT, (5, 0, 60, 50)]
    table = [[0.9, 0.6], [0.5, 0.8]]
    assert chosen(table, boxes) == [(0, 0), (1, 1)]
    # Both contain the face; each reference is given the tightest of them.
    assert chosen(table, boxes, faces=[face, face]) == [(1, 1)]


def test_a_margin_over_the_other_references_may_be_asked_for() -> None:
    table = [[0.80, 0.2], [0.78, 0.7]]
    assert chosen(table, [LEFT, RIGHT]) == [(0, 0)]
    assert chosen(table, [LEFT, RIGHT], min_margin=0.1) == [(1, 1)]


def test_without_candidates_nothing_matches() -> None:
    assert chosen([[], []], []) == []


PHRASES = ("red ball", "green ball", "blue ball")


def composed_sample(generator: DiscGenerator) -> Sample:
    """Three discs in a row, found and masked, their references drawn before."""
    subjects = [Subject(phrase=one, noun="ball", prompt=f"a {one}") for one in PHRASES]
    scene = Scene(
        id="flexible-00000000",
        subset="flexible",
        caption="three balls",
        nouns=list(PHRASES),
        subjects=subjects,
        width=1,
        height=1,
        source=Source(kind="prompt", prompt="three balls"),
        seed=1,
    )
    sample = Sample(scene)
    ((x1, y1, x2, y2),) = disc_boxes(1, 64, 64)
    DrawStage(DrawConfig(width=64, height=64), CONTEXT, models={"model": generator})([sample])
    alone = FixedGrounder([[x1 - 2, y1 - 2, x2 + 2, y2 + 2]], [0.9], ["ball"])
    RegroundStage(
        RegroundConfig(),
        CONTEXT,
        models={"ground_model": alone, "segment_model": ColourSegmenter()},
    )([sample])
    ComposeStage(ComposeConfig(width=192, height=64), CONTEXT, models={"model": generator})(
        [sample]
    )
    boxes = [[float(edge) for edge in box] for box in disc_boxes(3, 192, 64)]
    # The detector mixes up the phrases; matching must not believe it.
    found = FixedGrounder(boxes, [0.9, 0.8, 0.7], ["green ball", "blue ball", "red ball"])
    GroundStage(GroundConfig(), CONTEXT, models={"model": found})([sample])
    SegmentStage(SegmentConfig(), CONTEXT, models={"model": ColourSegmenter()})([sample])
    return sample


def test_matched_instances_take_over_the_subject_and_its_view() -> None:
    sample = composed_sample(DiscGenerator())
    config = MatchConfig(min_dino=0.9)
    MatchStage(config, CONTEXT, models={"image_model": MeanColourEmbedder()})([sample])
    scene = sample.scene
    assert sample.reject is None
    assert [one.phrase for one in scene.instances] == list(PHRASES)
    assert [one.subject for one in scene.instances] == [0, 1, 2]
    assert len({one.identity_id for one in scene.instances}) == 3
    for instance in scene.instances:
        (reference,) = instance.references
        assert reference.kind == "source"
        assert reference.drawing is not None
        assert reference.drawing.prompt == f"a {instance.phrase}"
        assert reference.similarity.dino is not None
        assert reference.similarity.dino > 0.99
    assert sample.drawn == []
    WriteStage(WriteConfig(), CONTEXT)([sample])  # raises where members and scene disagree


def test_an_unmatched_reference_goes_with_its_files() -> None:
    sample = composed_sample(DiscGenerator())
    # What was drawn for the first subject is not what stands in the target.
    sample.files["ref00.jpg"] = sample.files["ref01.jpg"]
    sample.drawn[0].reference.mask = sample.drawn[1].reference.mask
    sample.drawn[0].reference = sample.drawn[1].reference.model_copy(
        update={"name": "ref00", "image": "ref00.jpg", "mask": "ref00.mask.png"}
    )
    MatchStage(MatchConfig(min_dino=0.9), CONTEXT, models={"image_model": MeanColourEmbedder()})(
        [sample]
    )
    # Both claim the second disc; of equals the first subject is served.
    assert [one.phrase for one in sample.scene.instances] == ["red ball", "blue ball"]
    names = {name.partition(".")[0] for name in sample.files} - {"target"}
    assert names == {"ref00", "ref01"}
    WriteStage(WriteConfig(), CONTEXT)([sample])


def test_too_few_matches_turn_the_scene_down_with_the_best_cosine() -> None:
    sample = composed_sample(DiscGenerator())
    config = MatchConfig(min_dino=1.0)
    MatchStage(config, CONTEXT, models={"image_model": MeanColourEmbedder()})([sample])
    assert sample.reject is not None
    assert sample.reject.reason == "too few matches"
    figures = sample.reject.figures
    assert (figures["references"], figures["candidates"]) == (3, 3)
    assert figures["best_dino"] == pytest.approx(1.0, abs=0.01)

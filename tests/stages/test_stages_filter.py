import numpy as np
import pytest
from support.filter_samples import ROW, SIZE, make_sample, run

from imig.layout.masks import mask_to_rle
from imig.stages.base import BuildContext
from imig.stages.filter import FilterConfig, FilterStage


def test_a_good_scene_passes_unchanged() -> None:
    sample, before = make_sample(ROW), make_sample(ROW)
    assert run(sample) == ["id0", "id1", "id2", "id3"]
    assert sample.reject is None
    assert sample.scene == before.scene


def test_small_boxes_go_and_the_count_is_in_the_figures() -> None:
    sample = make_sample([(0, 0, 20, 20), (30, 30, 39, 40), (50, 50, 59, 59)])
    assert run(sample) == ["id0"]
    assert sample.reject is not None
    assert (sample.reject.stage, sample.reject.reason) == ("filter", "too few instances")
    assert sample.reject.figures == {"instances": 1, "min_instances": 2, "small_box": 2}


def test_masks_must_cover_their_box_both_ways() -> None:
    sample = make_sample(ROW)
    thin = np.zeros((SIZE, SIZE), dtype=bool)
    thin[0:25, 30:44] = True  # 56 % of the box's width, all of its height
    sample.scene.instances[1].mask = mask_to_rle(thin)
    assert run(sample) == ["id0", "id2", "id3"]
    assert sample.scene.layer_order == [2, 1, 0]


def test_largest_boxes_stay_in_their_old_order() -> None:
    assert run(make_sample(ROW), max_instances=2) == ["id0", "id1"]
    assert run(make_sample(ROW), max_instances=3) == ["id0", "id1", "id3"]


@pytest.mark.parametrize(
    ("scores", "config", "kept"),
    [
        ({"grounding": [0.9, 0.3, 0.9, 0.9]}, {"min_grounding_score": 0.4}, [0, 2, 3]),
        ({"phrase_similarity": [0.3, 0.1, 0.2, 0.3]}, {"min_phrase_similarity": 0.2}, [0, 2, 3]),
        ({"phrase_margin": [0.0, -0.1, 0.1, 0.0]}, {"min_phrase_margin": 0.0}, [0, 2, 3]),
        ({}, {"min_phrase_margin": 0.0, "min_phrase_similarity": 0.5}, [0, 1, 2, 3]),
    ],
)
def test_score_thresholds(
    scores: dict[str, list[float]], config: dict[str, float], kept: list[int]
) -> None:
    assert run(make_sample(ROW, **scores), **config) == [f"id{i}" for i in kept]


def test_of_duplicate_boxes_the_better_grounded_stays() -> None:
    boxes = [*ROW, (25, 0, 50, 24)]
    assert run(make_sample(boxes, grounding=[0.5, 0.5, 0.5, 0.5, 0.6])) == [
        "id0", "id2", "id3", "id4",
    ]  # fmt: skip
    assert run(make_sample(boxes, grounding=[0.5] * 5)) == ["id0", "id1", "id2", "id3"]


def test_of_alike_identities_the_better_grounded_stays() -> None:
    alike = [[1.0, 0.2, 0.9, 0.1], [0.2, 1.0, 0.1, 0.95], [0.9, 0.1, 1.0, 0.3], [0.1, 0.95, 0.3, 1]]
    sample = make_sample(ROW, grounding=[0.5, 0.9, 0.6, 0.8])
    for instance, row in zip(sample.scene.instances, alike, strict=True):
        instance.scores.identity_similarity = row
    assert run(sample, max_identity_similarity=0.85) == ["id1", "id2"]
    assert sample.scene.instances[0].scores.identity_similarity == [1.0, 0.1]


@pytest.mark.parametrize(
    ("coverage", "caption", "reason"),
    [
        (0.05, 0.3, "coverage too low"),
        (0.95, 0.3, "coverage too high"),
        (0.5, 0.1, "caption does not match"),
        (0.5, 0.3, None),
        (None, None, None),
    ],
)
def test_scene_thresholds(
    coverage: float | None, caption: float | None, reason: str | None
) -> None:
    sample = make_sample(ROW)
    sample.scene.scores.coverage = coverage
    sample.scene.scores.caption_similarity = caption
    run(sample, min_coverage=0.1, max_coverage=0.9, min_caption_similarity=0.2)
    assert (sample.reject.reason if sample.reject else None) == reason


def test_thresholds_on_scores_need_the_score_stage() -> None:
    context = BuildContext(recipe_seed=0, subset="basic")
    assert "scores" not in FilterStage(FilterConfig(), context).reads
    for settings in ({"min_phrase_margin": 0.0}, {"max_coverage": 0.9}):
        assert "scores" in FilterStage(FilterConfig.model_validate(settings), context).reads

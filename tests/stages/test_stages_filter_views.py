"""The filter's thresholds on views, and on figures of the whole scene."""

from typing import Any

import pytest
from support.filter_samples import ROW, make_sample, run

from imig.sample import Sample
from imig.schema import Agreement, Face, Reference, Similarity, Subset
from imig.stages.base import BuildContext
from imig.stages.filter import FilterConfig, FilterStage


def add_view(
    sample: Sample, instance: int, kind: str, *, number: int | None = None, **fields: Any
) -> None:
    one = sample.scene.instances[instance]
    taken = sum(len(other.references) for other in sample.scene.instances)
    name = f"{'face' if kind == 'face' else 'ref'}{taken if number is None else number:02d}"
    sample.files[f"{name}.jpg"] = b""
    one.references = [
        *one.references,
        Reference.model_validate(
            {
                "name": name,
                "kind": kind,
                "image": f"{name}.jpg",
                "mask": None,
                "width": 8,
                "height": 8,
                "subject_box": (0, 0, 8, 8),
                **fields,
            }
        ),
    ]


def with_views(kind: str, dino: list[float | None]) -> Sample:
    """A scene of four instances with a view each."""
    sample = make_sample(ROW)
    for instance, value in enumerate(dino):
        add_view(sample, instance, kind, similarity=Similarity(dino=value))
    return sample


@pytest.mark.parametrize("kind", ["crop", "edit", "source"])
def test_the_lowest_dino_of_the_views_decides(kind: str) -> None:
    sample = with_views(kind, [0.9, 0.8, None, 0.82])
    add_view(sample, 0, kind, similarity=Similarity(dino=0.5))
    assert run(sample, dino=0.82) == ["id2", "id3"]


def test_what_fails_is_counted_by_cause() -> None:
    sample = with_views("edit", [0.5, 0.6, 0.7, 0.9])
    sample.scene.instances[3].references[0].agreement = Agreement(
        agrees=False, reason="a dog", model="m"
    )
    run(sample, dino=0.8, agreement=True)
    assert sample.reject is not None
    assert sample.reject.figures == {
        "instances": 0, "min_instances": 2, "dino": 3, "disagreement": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("similarity", "score", "stays"),
    [(0.7, None, True), (None, 0.7, True), (0.6, 0.7, False), (None, None, False)],
)
def test_a_recognised_face_stands_in_for_dino(
    similarity: float | None, score: float | None, stays: bool
) -> None:
    sample = with_views("source", [0.5, 0.9, 0.9, 0.9])
    face = Face(box=(0, 0, 4, 4), score=score)
    add_view(sample, 0, "face", face=face, similarity=Similarity(face=similarity, dino=0.1))
    assert ("id0" in run(sample, dino=0.82, face=0.65)) is stays
    assert "id0" not in run(sample, dino=0.82)


def test_a_view_of_another_kind_is_no_face() -> None:
    sample = with_views("source", [0.5, 0.9, 0.9, 0.9])
    sample.scene.instances[0].references[0].similarity.face = 0.99
    assert "id0" not in run(sample, dino=0.82, face=0.65)


@pytest.mark.parametrize(("kind", "kept"), [("edit", 3), ("source", 3), ("crop", 4)])
def test_the_mask_of_a_drawn_view_must_cover_its_box(kind: str, kept: int) -> None:
    sample = with_views(kind, [0.9, 0.9, 0.9, 0.9])
    sample.scene.instances[1].references[0].coverage = 0.59
    assert len(run(sample)) == kept


def test_only_those_who_were_asked_can_disagree() -> None:
    sample = with_views("crop", [0.9] * 4)
    views = [one.references[0] for one in sample.scene.instances]
    views[1].agreement = Agreement(agrees=False, reason="a dog", model="m")
    views[2].agreement = Agreement(agrees=True, reason="", model="m")
    assert len(run(sample)) == 4
    assert run(sample, agreement=True) == ["id0", "id2", "id3"]


@pytest.mark.parametrize(
    ("subset", "kind", "kept"),
    [
        ("complex", "edit", ["id0", "id2"]),
        ("flexible", "source", ["id0", "id2"]),
        ("basic", "crop", ["id0", "id1", "id2", "id3"]),
    ],
)
def test_every_instance_has_the_view_of_its_subset(
    subset: Subset, kind: str, kept: list[str]
) -> None:
    sample = make_sample(ROW)
    sample.scene.subset = subset
    add_view(sample, 0, kind)
    add_view(sample, 1, "face")
    add_view(sample, 2, kind)
    assert run(sample) == kept
    assert next(one.name for i in sample.scene.instances for one in i.references) == "ref00"


@pytest.mark.parametrize(
    ("score", "value", "config", "reason"),
    [
        ("aesthetics", 4.9, {"min_aesthetics": 5.0}, "aesthetics too low"),
        ("preference", 18.0, {"min_preference": 20.0}, "preference too low"),
        ("sharpness", 0.001, {"min_sharpness": 0.002}, "not sharp enough"),
        ("watermark", 0.9, {"max_watermark": 0.5}, "text or watermark"),
        ("watermark", 0.5, {"max_watermark": 0.5}, None),
        ("aesthetics", None, {"min_aesthetics": 5.0}, None),
    ],
)
def test_figures_of_the_scene(
    score: str, value: float | None, config: dict[str, float], reason: str | None
) -> None:
    sample = make_sample(ROW)
    setattr(sample.scene.scores, score, value)
    run(sample, **config)
    assert (sample.reject.reason if sample.reject else None) == reason
    if sample.reject is not None:
        assert sample.reject.figures == {score: value, "threshold": next(iter(config.values()))}


def test_dino_needs_the_score_stage_but_where_match_has_compared() -> None:
    config = FilterConfig(dino=0.8)
    reads = {
        subset: FilterStage(config, BuildContext(recipe_seed=0, subset=subset)).reads
        for subset in ("complex", "flexible")
    }
    assert "scores" in reads["complex"]
    assert "scores" not in reads["flexible"]

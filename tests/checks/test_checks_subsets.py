"""What each subset promises of its views: planted in a good sample, found there, alone."""

from collections.abc import Callable

import pytest
from support.extra_views import add_disc
from support.scene_checks import check_sample
from support.tiny_dataset import make_sample

from imig.checks.pictures import Findings
from imig.sample import Sample
from imig.schema import Scene, Source, Subject, Subset
from imig.shards.writer import sample_to_members


def good_sample(subset: Subset) -> Sample:
    """Two instances, each with the views that the subset promises."""
    sample = make_sample(0, subset=subset, things=2)
    if subset == "flexible":
        phrases = [one.phrase for one in sample.scene.instances]
        subjects = [Subject(phrase=one, noun="ball", prompt=one) for one in phrases]
        sample.scene = Scene.model_validate({**dict(sample.scene), "subjects": subjects})
    for instance in sample.scene.instances:
        if subset == "complex":
            add_disc(sample, instance, name=f"ref{instance.index + 50}", kind="edit")
        if subset == "flexible":
            add_disc(sample, instance, name=f"ref{instance.index + 50}", kind="source")
            instance.subject = instance.index
    return sample


def kinds_found(sample: Sample) -> list[str]:
    files = {name.partition(".")[2]: data for name, data in sample_to_members(sample)}
    findings = Findings("shard", sample.scene.id)
    check_sample(findings, files)
    return [fault.kind for fault in findings.faults]


@pytest.mark.parametrize("subset", ["basic", "complex", "flexible"])
def test_a_good_sample_has_no_fault(subset: Subset) -> None:
    assert kinds_found(good_sample(subset)) == []


def drop(kind: str) -> Callable[[Sample], None]:
    """Take the first instance's views of a kind away, with their members."""

    def plant(sample: Sample) -> None:
        instance = sample.scene.instances[0]
        for one in (view for view in instance.references if view.kind == kind):
            for member in (one.image, one.mask):
                if member is not None:
                    del sample.files[member]
        instance.references = [one for one in instance.references if one.kind != kind]

    return plant


def forget(field: str) -> Callable[[Sample], None]:
    """Take the record away that says how a view came about."""

    def plant(sample: Sample) -> None:
        for one in sample.scene.instances[0].references:
            if getattr(one, field) is not None:
                setattr(one, field, None)

    return plant


def same_subject(sample: Sample) -> None:
    sample.scene.instances[1].subject = 0


def no_subject(sample: Sample) -> None:
    sample.scene.instances[1].subject = None


@pytest.mark.parametrize(
    ("subset", "plant", "kind"),
    [
        ("basic", drop("crop"), "missing-view"),
        ("basic", forget("crop_box"), "view-record"),
        ("basic", forget("face"), "view-record"),
        ("complex", drop("edit"), "missing-view"),
        ("complex", drop("crop"), "missing-view"),
        ("complex", forget("crop_box"), "view-record"),
        ("flexible", drop("source"), "missing-view"),
        ("flexible", forget("drawing"), "view-record"),
        ("flexible", same_subject, "subject"),
        ("flexible", no_subject, "subject"),
    ],
)
def test_a_planted_fault_is_found_and_nothing_else(
    subset: Subset, plant: Callable[[Sample], None], kind: str
) -> None:
    sample = good_sample(subset)
    plant(sample)
    assert kinds_found(sample) == [kind]


def test_an_edited_view_says_what_was_asked_for() -> None:
    sample = good_sample("complex")
    sample.scene.instances[0].references[-1].edit = None
    assert kinds_found(sample) == ["view-record"]


def test_a_basic_sample_may_have_no_references_at_all() -> None:
    sample = good_sample("basic")
    for instance in sample.scene.instances:
        instance.references = []
    sample.files = {"target.jpg": sample.files["target.jpg"]}
    assert kinds_found(sample) == []


def test_a_flexible_sample_has_two_instances() -> None:
    sample = make_sample(0, subset="flexible", things=1)
    subject = Subject(phrase="red ball", noun="ball", prompt="a red ball")
    sample.scene = Scene.model_validate({**dict(sample.scene), "subjects": [subject]})
    instance = sample.scene.instances[0]
    instance.subject = 0
    add_disc(sample, instance, name="ref50", kind="source")
    assert kinds_found(sample) == ["too-few-instances"]


@pytest.mark.parametrize(
    ("subset", "plant"),
    [
        ("basic", forget("crop_box")),
        ("complex", forget("crop_box")),
        ("complex", forget("edit")),
        ("flexible", forget("drawing")),
    ],
)
def test_beside_a_given_target_nobody_says_how_views_came_about(
    subset: Subset, plant: Callable[[Sample], None]
) -> None:
    sample = good_sample(subset)
    plant(sample)
    sample.scene.source = Source(kind="file", path="data/000012.jpg")
    assert kinds_found(sample) == []


@pytest.mark.parametrize("subset", ["basic", "flexible"])
def test_beside_a_given_target_a_face_may_be_all_there_is(subset: Subset) -> None:
    sample = good_sample(subset)
    for kind in ("crop", "source"):
        drop(kind)(sample)
    expected = kinds_found(sample)
    sample.scene.source = Source(kind="file", path="data/000012.jpg")
    assert (expected, kinds_found(sample)) == (["missing-view"], [])


def test_beside_a_given_target_a_complex_sample_needs_its_edits() -> None:
    sample = good_sample("complex")
    drop("edit")(sample)
    sample.scene.source = Source(kind="file", path="data/000012.jpg")
    assert kinds_found(sample) == ["missing-view"]

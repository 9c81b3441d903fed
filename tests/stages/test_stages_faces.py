"""Whose face is it, and what becomes of it: with a stand-in for the model, then with dlib."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import io
from copy import deepcopy

import numpy as np
import pytest
from PIL import Image
from support.face_doubles import FacesBySize, face
from support.model_doubles import MeanColourEmbedder, digest
from support.scene_checks import check_sample
from support.tabletop_samples import tabletop_sample

from imig.checks.pictures import Findings
from imig.errors import UsageError
from imig.layout.masks import mask_area, mask_to_rle
from imig.models.protocols import DetectedFace
from imig.recipe.parts import ModelConfig
from imig.sample import DrawnView, Sample, image_to_jpeg, mask_to_png
from imig.schema import (
    Drawing,
    Edit,
    Instance,
    Reference,
    Scene,
    Source,
    Subject,
    Subset,
    scene_to_json,
)
from imig.shards.writer import JSON_MEMBER
from imig.stages.base import BuildContext
from imig.stages.face_matching import faces_of_instances, recognise
from imig.stages.faces import FacesConfig, FacesStage
from imig.stages.instances import keep_instances
from imig.stages.match import MatchConfig, MatchStage, view_references

TARGET = (400, 300)
LEFT, RIGHT = (20, 40, 180, 280), (220, 40, 380, 280)
CONFIG = FacesConfig(model=ModelConfig(family="dlib"), aligned_side=64)


def make_stage(
    faces: dict[tuple[int, int], list[DetectedFace]],
    *,
    subset: Subset = "basic",
    config: FacesConfig = CONFIG,
) -> tuple[FacesStage, FacesBySize]:
    analyser = FacesBySize(faces)
    context = BuildContext(recipe_seed=0, subset=subset)
    stage = FacesStage(config, context, models={"model": analyser})
    stage.setup()
    return stage, analyser


def add_picture(files: dict[str, bytes], name: str, size: tuple[int, int]) -> None:
    """A noisy picture and a mask of all but its margin."""
    pixels = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    mask = np.zeros((size[1], size[0]), bool)
    mask[4:-4, 4:-4] = True
    files[f"{name}.jpg"] = image_to_jpeg(Image.fromarray(pixels))
    files[f"{name}.mask.png"] = mask_to_png(mask)


def view(name: str, size: tuple[int, int], kind: str) -> Reference:
    return Reference.model_validate(
        {
            "name": name,
            "kind": kind,
            "image": f"{name}.jpg",
            "mask": f"{name}.mask.png",
            "width": size[0],
            "height": size[1],
            "subject_box": (4, 4, size[0] - 4, size[1] - 4),
            "crop_box": (10, 36, 10 + size[0], 36 + size[1]) if kind == "crop" else None,
            "edit": Edit(instruction="turn", model="m", seed=1) if kind == "edit" else None,
            "drawing": Drawing(prompt="a", model="m", seed=1, width=768, height=768)
            if kind == "source"
            else None,
        }
    )


def two_people(*, subset: Subset = "basic") -> Sample:
    """A target with two upright people, each with a crop; complex: an edit too.

    Crops are 168 and 169 wide, edits 200 and 201: the stand-in for the model goes by sizes.
    """
    files: dict[str, bytes] = {}
    add_picture(files, "target", TARGET)
    del files["target.mask.png"]
    instances = []
    for index, box in enumerate((LEFT, RIGHT)):
        mask = np.zeros((TARGET[1], TARGET[0]), bool)
        mask[box[1] : box[3], box[0] : box[2]] = True
        size = (168 + index, 248)
        references = [view(f"ref{index:02d}", size, "crop")]
        add_picture(files, f"ref{index:02d}", size)
        if subset == "complex":
            size = (200 + index, 240)
            references.append(view(f"ref{index + 2:02d}", size, "edit"))
            add_picture(files, f"ref{index + 2:02d}", size)
        instances.append(
            Instance(
                index=index,
                identity_id=f"person{index}",
                phrase=f"person {index}",
                noun="person",
                box=box,
                mask=mask_to_rle(mask),
                area=mask_area(mask),
                layer=index,
                references=references,
            )
        )
    scene = Scene(
        id="basic-00000000",
        subset=subset,
        caption="Two people.",
        width=TARGET[0],
        height=TARGET[1],
        source=Source(kind="file", path="a.png"),
        seed=0,
        layer_order=[0, 1],
        instances=instances,
    )
    return Sample(scene, files)


def faults(sample: Sample) -> list[str]:
    """What `imig validate` says of the sample."""
    findings = Findings(shard="s", sample=sample.scene.id)
    check_sample(findings, {**sample.files, JSON_MEMBER: scene_to_json(sample.scene)})
    return [f"{fault.kind}: {fault.message}" for fault in findings.faults]


IN_LEFT, IN_RIGHT = (70, 60, 130, 120), (270, 60, 330, 120)
IN_CROP, IN_EDIT = (50, 30, 110, 90), (60, 50, 130, 120)


def test_faces_of_instances_and_crops() -> None:
    sample = two_people()
    stage, analyser = make_stage(
        {
            TARGET: [face(IN_LEFT, 0), face((10, 5, 50, 45), 5), face((75, 200, 105, 230), 6)],
            (168, 248): [face(IN_CROP, 0, likeness=0.9, score=0.81)],
            (169, 248): [face((0, 0, 3, 30), 1)],
        }
    )
    (done,) = stage([sample])
    left, right = done.scene.instances
    assert analyser.shown == [TARGET, (168, 248), (169, 248)]
    assert left.face_box == IN_LEFT, "the largest under its mask"
    crop, aligned = left.references
    assert crop.face is not None
    assert crop.face.model_dump() == {
        "box": IN_CROP,
        "aligned_box": None,
        "quality": 0.81,
        "score": pytest.approx(0.9),
    }
    assert crop.similarity.face == pytest.approx(0.9)
    assert (aligned.name, aligned.kind, aligned.mask) == ("face00", "face", None)
    assert (aligned.width, aligned.height) == (64, 64)
    assert aligned.face is not None
    assert aligned.face.box == aligned.face.aligned_box
    assert aligned.similarity.face == crop.similarity.face
    assert Image.open(io.BytesIO(done.files["face00.png"])).mode == "RGBA"
    # Nobody's face is on the right; a small one at the crop's edge is too small to count.
    assert right.face_box is None
    assert right.references[0].face is None
    assert right.references[0].similarity.face is None
    assert not faults(done)


def test_the_edit_s_face_is_aligned_where_it_is_the_same_person_s() -> None:
    faces = {
        TARGET: [face(IN_LEFT, 0), face(IN_RIGHT, 1)],
        (168, 248): [face(IN_CROP, 0)],
        (169, 248): [face(IN_CROP, 1)],
        (200, 240): [face(IN_EDIT, 0, likeness=0.7)],
        (201, 240): [face(IN_EDIT, 1, likeness=0.3)],
    }
    stage, _ = make_stage(faces, subset="complex")
    (done,) = stage([two_people(subset="complex")])
    left, right = done.scene.instances
    assert [one.kind for one in left.references] == ["crop", "edit", "face"]
    assert left.references[2].similarity.face == pytest.approx(0.7)
    edit = right.references[1]
    assert edit.similarity.face == pytest.approx(0.3), "stored, though it is not the same"
    assert right.references[2].similarity.face == pytest.approx(1.0), "of the crop"
    assert [left.references[2].name, right.references[2].name] == ["face00", "face01"]
    assert not faults(done)

    keep_instances(done, [1])
    assert [one.name for one in done.scene.instances[0].references] == ["ref00", "ref01", "face00"]
    assert "face01.png" not in done.files

    again, _ = make_stage(faces, subset="complex")
    (twice,) = again([two_people(subset="complex")])
    keep_instances(twice, [1])
    assert digest(twice.files) == digest(done.files)


def test_small_and_doubtful_faces_do_not_count() -> None:
    doubtful = [face(IN_LEFT, 0, score=0.2), face((230, 60, 250, 80), 1)]
    stage, _ = make_stage({TARGET: doubtful})
    (done,) = stage([two_people()])
    assert [one.face_box for one in done.scene.instances] == [None, None]


def test_a_face_belongs_to_the_mask_that_covers_it() -> None:
    near, far = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    near[:, :50] = True
    far[:, 50:] = True
    on_edge, inside = face((30, 10, 60, 40), 0), face((60, 60, 80, 80), 1)
    assert faces_of_instances([on_edge, inside], [near, far]) == [on_edge, inside]
    assert faces_of_instances([face((40, 10, 60, 30), 0)], [near & False, far & False]) == [
        None,
        None,
    ]
    assert faces_of_instances([on_edge], []) == []


def test_recognition_is_one_to_one() -> None:
    a, b = face((0, 0, 30, 30), 0), face((0, 0, 30, 30), 1)
    first, second = face((40, 0, 70, 30), 0, likeness=0.6), face((80, 0, 110, 30), 0, likeness=0.9)
    found = recognise([a, None, b], [first, second], min_cosine=0.4)
    assert found[0] is second
    assert found[1:] == [None, None]
    # two references of one person: each gets a face, the sum of cosines being largest
    both = recognise([a, a], [first, second], min_cosine=0.4)
    assert {id(one) for one in both} == {id(first), id(second)}
    assert recognise([a], [], min_cosine=0.4) == [None]
    assert recognise([a], [face((0, 0, 30, 30), 0, likeness=0.4)], min_cosine=0.4) == [None]


def flexible_sample(sizes: list[tuple[int, int]]) -> Sample:
    """Views of subjects, drawn, and a target in which nobody has been found yet."""
    sample = two_people(subset="flexible")
    files = {"target.jpg": sample.files["target.jpg"]}
    for number, size in enumerate(sizes):
        add_picture(files, f"ref{number:02d}", size)
    subjects = [Subject(phrase=f"person {i}", noun="person", prompt="a") for i in range(len(sizes))]
    for instance in sample.scene.instances:
        instance.references = []
    scene = Scene.model_validate({**dict(sample.scene), "subjects": subjects})
    drawn = [
        DrawnView(subject=i, reference=view(f"ref{i:02d}", size, "source"))
        for i, size in enumerate(sizes)
    ]
    return Sample(scene, files, drawn=drawn)


def test_flexible_finds_the_references_faces_in_the_target() -> None:
    sample = flexible_sample([(210, 240), (211, 240), (212, 240)])
    faces = {
        TARGET: [face(IN_RIGHT, 0), face(IN_LEFT, 1)],
        (210, 240): [face(IN_EDIT, 0, likeness=0.8)],
        (211, 240): [face(IN_EDIT, 2)],
        (212, 240): [],
    }
    stage, _ = make_stage(faces, subset="flexible")
    (done,) = stage([sample])
    known, other, thing = done.drawn
    assert known.target_face == IN_RIGHT
    assert known.reference.face is not None
    assert known.reference.face.score == pytest.approx(0.8)
    assert known.reference.similarity.face == pytest.approx(0.8)
    assert [one.kind for one in view_references(known)] == ["source", "face"]
    assert known.face_reference is not None
    assert known.face_reference.image in done.files
    assert other.target_face is None
    assert other.reference.face is not None
    assert other.reference.face.score is None
    assert view_references(other) == [other.reference]
    assert thing.reference.face is None
    assert all(one.face_box is None for one in done.scene.instances), "that is for `match`"


def test_match_takes_the_faces_over() -> None:
    """A view goes to whoever has its face, and the aligned copy goes with it."""
    sample = flexible_sample([(210, 240), (211, 240)])
    faces = {
        TARGET: [face(IN_RIGHT, 0), face(IN_LEFT, 1)],
        (210, 240): [face(IN_EDIT, 0, likeness=0.8)],
        (211, 240): [face(IN_EDIT, 1, likeness=0.3)],
    }
    stage, _ = make_stage(faces, subset="flexible")
    config = MatchConfig(min_dino=-1.0, min_instances=1)
    match = MatchStage(config, stage.context, models={"image_model": MeanColourEmbedder()})
    (done,) = match(stage([sample]))
    assert done.reject is None
    owner = next(one for one in done.scene.instances if one.subject == 0)
    assert owner.box == RIGHT
    assert owner.face_box == IN_RIGHT
    assert [one.kind for one in owner.references] == ["source", "face"]
    assert owner.references[1].image in done.files
    assert {name for name in done.files if name.startswith("face")} == {"face00.png"}
    others = [one for one in done.scene.instances if one.subject != 0]
    assert all(one.face_box is None for one in others)
    assert not [fault for fault in faults(done) if "face" in fault]


def test_without_a_model_the_stage_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imig.models.packages.find_spec", lambda name: None)
    context = BuildContext(recipe_seed=0, subset="basic")
    stage = FacesStage(FacesConfig(), context)
    reason = stage.skipped()
    assert reason is not None
    assert "insightface, onnxruntime" in reason
    assert "pip install 'imig[faces-insightface]'" in reason
    assert stage.models() == []
    sample = two_people()
    before = deepcopy(sample.scene)
    stage.setup()
    assert stage([sample])[0].scene == before
    # A worker that does have the model does what the plan said.
    monkeypatch.undo()
    assert stage.skipped() == reason

    required = FacesStage(FacesConfig(required=True), context)
    monkeypatch.setattr("imig.models.packages.find_spec", lambda name: None)
    assert required.skipped() is None
    with pytest.raises(UsageError, match="not installed"):
        required.models()


def test_the_licence_must_be_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imig.models.weights.resolve_weights", lambda config: None)
    context = BuildContext(recipe_seed=0, subset="basic")
    with pytest.raises(UsageError, match="non-commercial research") as caught:
        FacesStage(FacesConfig(), context).skipped()
    assert "faces.accept_licence: true" in caught.value.cure
    assert FacesStage(FacesConfig(accept_licence=True), context).skipped() is None
    free = FacesConfig(model=ModelConfig(family="dlib"))
    assert FacesStage(free, context).skipped() is None


def astronaut_sample() -> Sample:
    """Eileen Collins (NASA, public domain, shipped by scikit-image): a crop, and nothing else."""
    import skimage.data

    target = Image.fromarray(skimage.data.astronaut())
    mask = np.zeros((512, 512), bool)
    mask[10:512, 60:380] = True
    crop_box = (50, 0, 390, 512)
    crop_mask = mask[crop_box[1] : crop_box[3], crop_box[0] : crop_box[2]]
    reference = Reference(
        name="ref00",
        kind="crop",
        image="ref00.jpg",
        mask="ref00.mask.png",
        width=340,
        height=512,
        subject_box=(10, 10, 330, 512),
        crop_box=crop_box,
    )
    instance = Instance(
        index=0,
        identity_id="astronaut",
        phrase="a smiling astronaut",
        noun="astronaut",
        box=(60, 10, 380, 512),
        mask=mask_to_rle(mask),
        area=mask_area(mask),
        layer=0,
        references=[reference],
    )
    scene = Scene(
        id="basic-00000001",
        subset="basic",
        width=512,
        height=512,
        source=Source(kind="file", path="astronaut.png"),
        seed=0,
        layer_order=[0],
        instances=[instance],
    )
    files = {
        "target.jpg": image_to_jpeg(target),
        "ref00.jpg": image_to_jpeg(target.crop(crop_box)),
        "ref00.mask.png": mask_to_png(crop_mask),
    }
    return Sample(scene, files)


@pytest.mark.model
def test_a_real_face_with_a_real_model() -> None:
    pytest.importorskip("dlib", reason="the extra `faces` is not installed")
    pytest.importorskip("skimage")
    context = BuildContext(recipe_seed=0, subset="basic")
    config = FacesConfig(model=ModelConfig(family="dlib"))
    done = []
    for _ in range(2):
        stage = FacesStage(config, context)
        assert stage.skipped() is None
        assert stage.models()[0].family == "dlib"
        stage.setup()
        things = tabletop_sample(3)
        samples = stage([astronaut_sample(), things])
        done.append(digest(samples[0].files))
        (instance,) = samples[0].scene.instances
        assert instance.face_box is not None
        crop, aligned = instance.references
        assert crop.similarity.face is not None
        assert crop.similarity.face > 0.9
        assert (aligned.width, aligned.height) == (512, 512)
        assert aligned.face is not None
        x1, y1, x2, y2 = aligned.face.box
        assert x1 < 192 < 319 < x2, "the template's eyes"
        assert y1 < 240 < 371 < y2
        assert not faults(samples[0])
        assert all(one.face_box is None for one in things.scene.instances)
        assert not faults(things)
    assert done[0] == done[1]

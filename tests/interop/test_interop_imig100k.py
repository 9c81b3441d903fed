"""The published IMIG-100K: in, out, and as the released trainer would read what went out."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.extra_views import add_disc
from support.imig100k_folders import read_entries, write_entries, write_published
from support.released_reader import COMPOSED, EDITED, read_everything
from support.tiny_dataset import make_sample, seal

import imig
from imig.checks.dataset import validate_dataset
from imig.errors import DataError, ImigError, UsageError
from imig.interop.exporting import export_dataset
from imig.interop.format import ImportSettings
from imig.interop.imig100k.files import PROMPTS_NAME
from imig.interop.imig100k.reading import Imig100kImporter
from imig.interop.imig100k.writing import _Chosen, _file_numbers
from imig.interop.importing import import_dataset
from imig.sample import Sample
from imig.schema import Face, Instance, Reference, Scene, Similarity, Subject, Subset
from imig.shards.tables import read_quarantine
from imig.shards.views import SceneView
from imig.shards.writer import write_tar

FOLDERS = (*EDITED, *COMPOSED)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return write_published(tmp_path / "published")


def files_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".imig-export" not in path.parts
    }


def is_list(name: str) -> bool:
    return name.endswith("filtered_prompts.json")


def test_the_published_form_comes_in_clean(published: Path, tmp_path: Path) -> None:
    done = import_dataset(published, "imig100k", output=tmp_path / "in")
    assert (done.manifest.counts.written, done.manifest.counts.quarantined) == (5, 0)
    assert done.losses.kinds == {}
    assert validate_dataset(tmp_path / "in").faults == []
    dataset = imig.Dataset(tmp_path / "in")
    assert dataset.ids == [
        "imig-basic-000012",
        "imig-basic-1000001",
        "imig-complex-000007",
        "imig-composite-000003",
        "imig-multicomposite-000000",
    ]
    assert [one.record.subset for one in dataset] == [
        "basic", "basic", "complex", "flexible", "flexible",
    ]  # fmt: skip

    scene = dataset["imig-basic-000012"].record
    assert (scene.caption, scene.nouns) == ("An owl and a cup, à la naïve 🦉.", ["owl", "Tässchen"])
    assert scene.source.path == "imig-basic/data/000012.jpg"
    owl, cup = scene.instances
    assert (owl.phrase, owl.box, cup.phrase, cup.noun) == (
        "owl", (4, 6, 44, 66), "big Tässchen", "Tässchen",
    )  # fmt: skip
    assert [(view.name, view.kind) for one in scene.instances for view in one.references] == [
        ("ref00", "crop"), ("ref01", "edit"), ("ref02", "crop"), ("ref03", "edit"),
    ]  # fmt: skip
    crop, edit = owl.references
    assert crop.crop_box == owl.box
    # The crop's mask spans (5, 7) to (35, 53) of it: that is the instance's own, in its place.
    assert crop.subject_box == (5, 7, 35, 53)
    mask = dataset["imig-basic-000012"].instances[0].mask
    assert mask is not None
    assert mask[13:59, 9:39].sum() == mask.sum() == owl.area
    # The detector's box joined with the mask's; the other edit's subject was not found.
    assert edit.subject_box == (8, 2, 56, 78)
    assert edit.coverage == pytest.approx(60 / 76, abs=1e-4)  # of the height that was found
    assert (cup.references[1].subject_box, cup.references[1].coverage) == ((8, 10, 56, 70), None)

    girl, friend = dataset["imig-composite-000003"].record.instances
    assert [view.kind for view in girl.references] == ["source", "face"]
    assert girl.face_box == (10, 14, 28, 34)
    source, face = girl.references
    assert source.face == Face(box=(20, 4, 44, 30), score=0.72)
    assert source.similarity == Similarity(dino=0.91, face=0.72)
    assert face.face == Face(box=(6, 5, 26, 28), aligned_box=(6, 5, 26, 28), score=0.72)
    assert [view.kind for view in friend.references] == ["source"]
    assert dataset["imig-composite-000003"].record.subjects[1] == Subject(
        phrase="her friend", noun="friend", prompt="A portrait of a friend."
    )


def test_what_goes_to_other_processes_is_small(published: Path) -> None:
    """Places of entries, not entries: a hundred thousand would be copied for every shard."""
    entries = read_entries(published, "imig-basic")
    many = [{**entries[0], "index": number} for number in range(1000)]
    write_entries(published, "imig-basic", many)
    importer = Imig100kImporter(published, ImportSettings())
    pickled = pickle.dumps(importer)
    assert len(pickled) < 60_000 < (published / "imig-basic" / PROMPTS_NAME).stat().st_size
    assert pickle.loads(pickled).keys() == importer.keys()


def test_it_goes_out_as_it_came_in(published: Path, tmp_path: Path) -> None:
    import_dataset(published, "imig100k", output=tmp_path / "in")
    done = export_dataset(tmp_path / "in", "imig100k", output=tmp_path / "out")
    assert done.losses.kinds.keys() == {"identities, scores, seeds and models"}
    before, after = files_of(published), files_of(tmp_path / "out")
    assert after.keys() == before.keys()
    assert [name for name in after if not is_list(name) and after[name] != before[name]] == []
    for folder in FOLDERS:
        entries = read_entries(published, folder)
        for one in entries[0].get("reference_images", [])[:1]:
            one["valid_bbox"] = [8, 2, 56, 78]  # joined with the mask's, as the trainer joins them
        assert read_entries(tmp_path / "out", folder) == entries
        # An entry a line, and ASCII: the trainer opens them in the encoding of its machine.
        lines = after[f"{folder}/{PROMPTS_NAME}"].decode("ascii").splitlines()
        assert [json.loads(line.rstrip(",")) for line in lines[1:-1]] == entries
    assert len(list(read_everything(tmp_path / "out"))) == len(list(read_everything(published)))


def test_a_face_alone(published: Path, tmp_path: Path) -> None:
    """Where no box was found, the released trainer takes the face and opens nothing else."""
    (entry,) = read_entries(published, "imig-composite")
    entry["bbox"][0] = None
    write_entries(published, "imig-composite", [entry])
    done = import_dataset(published, "imig100k", output=tmp_path / "in")
    assert done.losses.kinds["views of subjects of which only the face was found"].count == 1
    assert validate_dataset(tmp_path / "in").faults == []
    girl = imig.Dataset(tmp_path / "in")["imig-composite-000003"].record.instances[0]
    assert (girl.box, [view.kind for view in girl.references]) == ((10, 14, 28, 34), ["face"])
    export_dataset(tmp_path / "in", "imig100k", output=tmp_path / "out")
    (again,) = read_entries(tmp_path / "out", "imig-composite")
    entry["face_bbox"][0]["ref"] = None
    assert again == entry
    ways = [one.way for one in read_everything(tmp_path / "out") if one.folder == "imig-composite"]
    assert ways == ["face", "source"]


def test_one_instance_alone_is_no_flexible_scene(published: Path, tmp_path: Path) -> None:
    (entry,) = read_entries(published, "imig-composite")
    for values in entry.values():
        if isinstance(values, list):
            del values[1:]
    write_entries(published, "imig-composite", [entry])
    import_dataset(published, "imig100k", output=tmp_path / "in")
    assert imig.Dataset(tmp_path / "in")["imig-composite-000003"].record.subset == "basic"
    assert validate_dataset(tmp_path / "in").faults == []


# --- datasets of ours


def our_sample(number: int, subset: Subset) -> Sample:
    """With all that a subset may have: edits, sources, faces aligned and not."""
    sample = make_sample(number, subset=subset)
    sample.scene.caption = f"Bälle, {number} 🎈"
    for instance in sample.scene.instances:
        if subset == "complex":
            edit = add_disc(sample, instance, name=f"ref{instance.index + 50}", kind="edit")
            edit.coverage = 1.0 if instance.index else None
        elif subset == "flexible":
            _leave_only(sample, instance, None)
            source = add_disc(sample, instance, name=f"ref{instance.index:02d}", kind="source")
            source.similarity.dino = 0.9
            instance.subject = None
            if instance.index < 2:
                instance.face_box = (40, 10, 60, 30)
                source.face = Face(box=(30, 30, 50, 60), quality=0.5, score=0.7)
                source.similarity.face = 0.7
            if instance.index == 0:
                aligned = Face(box=(20, 30, 40, 60), aligned_box=(20, 30, 40, 60), score=0.7)
                face = add_disc(sample, instance, name="face00", kind="face", face=aligned)
                face.similarity.face = 0.7
    if subset == "flexible":
        phrases = [one.phrase for one in sample.scene.instances]
        subjects = [Subject(phrase=one, noun="ball", prompt=f"{one} alone") for one in phrases]
        extra = Subject(phrase="cat", noun="cat", prompt="a cat")
        sample.scene = Scene.model_validate(
            {**dict(sample.scene), "nouns": [], "subjects": [extra, *subjects]}
        )
        for instance in sample.scene.instances:
            instance.subject = instance.index + 1
    return sample


def _leave_only(sample: Sample, instance: Instance, kind: str | None) -> None:
    for view in instance.references:
        if view.kind != kind:
            for name in (view.image, view.mask):
                sample.files.pop(name or "", None)
    instance.references = [view for view in instance.references if view.kind == kind]


def without_views(number: int) -> Sample:
    sample = make_sample(number)
    for instance in sample.scene.instances:
        _leave_only(sample, instance, None)
    return sample


def only_sources(number: int) -> Sample:
    """As `imig import folders` makes of a folder that somebody laid down."""
    sample = make_sample(number)
    for instance in sample.scene.instances:
        _leave_only(sample, instance, None)
        add_disc(sample, instance, name=f"ref{instance.index:02d}", kind="source")
    return sample


def write_dataset(folder: Path, samples: dict[str, list[Sample]]) -> Path:
    seal(folder, samples, {name: write_tar(folder / name, its) for name, its in samples.items()})
    return folder


def our_dataset(folder: Path) -> Path:
    empty = make_sample(5, things=0)
    partial = make_sample(4)
    _leave_only(partial, partial.scene.instances[2], None)
    return write_dataset(
        folder,
        {
            "basic-000000.tar": [
                our_sample(0, "basic"), partial, empty, without_views(6), only_sources(7),
            ],
            "complex-000000.tar": [our_sample(1, "complex")],
            "flexible-000000.tar": [our_sample(0, "flexible"), our_sample(3, "flexible")],
        },
    )  # fmt: skip


def carried(scene: SceneView) -> dict[str, Any]:
    """All that the layout has a place for."""
    record = scene.record
    composed = record.subset == "flexible"

    def of_view(view: Reference) -> dict[str, Any]:
        files = [scene.files[name] for name in (view.image, view.mask) if name is not None]
        face = view.face and (view.face.box, view.face.aligned_box, view.face.score)
        return {
            "kind": view.kind,
            "files": files,
            "boxes": (view.width, view.height, view.subject_box, view.crop_box),
            "face": (face, view.similarity.face) if composed else None,
            "dino": view.similarity.dino if view.kind == "source" else None,
        }

    return {
        "subset": record.subset,
        "caption": record.caption,
        "size": (record.width, record.height),
        "target": scene.files[record.target],
        "nouns": record.nouns,
        "subjects": [record.subjects[one.subject or 0] for one in record.instances if composed],
        "instances": [
            (
                one.phrase,
                one.box,
                one.face_box if composed else None,
                None if composed else (one.mask, one.area),
                [of_view(view) for view in one.references if composed or view.kind != "face"],
            )
            for one in record.instances
        ],
    }


def test_ours_goes_out_and_comes_back(tmp_path: Path) -> None:
    ours = our_dataset(tmp_path / "ours")
    out = export_dataset(ours, "imig100k", output=tmp_path / "out")
    done = import_dataset(tmp_path / "out", "imig100k", output=tmp_path / "back")
    assert (done.manifest.counts.written, done.manifest.counts.quarantined) == (6, 0)
    assert done.losses.kinds == {}
    assert validate_dataset(tmp_path / "back").faults == []
    before, after = imig.Dataset(ours), imig.Dataset(tmp_path / "back")
    for old, new in {
        "basic-00000000": "imig-basic-000008",  # `flexible` has a number 0 as well
        "complex-00000001": "imig-complex-000001",
        "flexible-00000000": "imig-multicomposite-000014",
        "flexible-00000003": "imig-multicomposite-000003",
    }.items():
        expected, found = carried(before[old]), carried(after[new])
        if "flexible" not in old:  # what is hidden in part has a box that is not its mask's
            for scene in (expected, found):
                scene["instances"][0] = scene["instances"][0][:2]
        assert found == expected
    kinds = {kind: one.count for kind, one in out.losses.kinds.items()}
    assert kinds["scenes without an instance that has a crop, an edit or a source"] == 2
    assert kinds["instances without a crop, an edit or a source"] == 1
    assert kinds["subset: what has no crops goes among the composed targets"] == 1
    assert kinds["subjects that were asked for and are not in the picture"] == 2
    assert kinds["targets that are not square, which the released trainer squeezes"] == 6
    assert after["imig-multicomposite-000007"].record.subset == "flexible"
    # And what has come back goes out to the same bytes.
    export_dataset(tmp_path / "back", "imig100k", output=tmp_path / "out again")
    again, first = files_of(tmp_path / "out again"), files_of(tmp_path / "out")
    assert [name for name in again if not is_list(name) and again[name] != first[name]] == []
    for folder in FOLDERS:
        assert again.keys() == first.keys()
        entries = read_entries(tmp_path / "out", folder)
        assert read_entries(tmp_path / "out again", folder) == sorted(
            entries, key=lambda entry: f"{folder}-{entry['index']:06d}"
        )


def test_the_released_trainer_reads_ours(tmp_path: Path) -> None:
    ours = imig.Dataset(our_dataset(tmp_path / "ours"))
    export_dataset(tmp_path / "ours", "imig100k", output=tmp_path / "out")
    read = list(read_everything(tmp_path / "out"))
    ways = [(one.folder, one.index, one.way) for one in read]
    assert ways[:6] == [("imig-basic", 8, "crop"), ("imig-basic", 8, "edit")] * 3
    # Without an edit the crop stands in both places, and no detector has looked at it.
    assert read[0].picture.read_bytes() == read[1].picture.read_bytes()
    assert read[1].subject_box is None
    scene = ours["basic-00000000"].record
    scale = 768 / scene.height
    assert read[0].caption == "Bälle, 0 🎈"
    assert read[0].box == tuple(round(one * scale) for one in scene.instances[0].box)
    edits = [one for one in read if one.folder == "imig-complex" and one.way == "edit"]
    assert [one.subject_box for one in edits] == [
        None, (10 / 120, 20 / 90, 70 / 120, 80 / 90), (10 / 120, 20 / 90, 70 / 120, 80 / 90),
    ]  # fmt: skip
    composed = [one for one in read if one.folder == "imig-multicomposite" and one.index == 3]
    assert [one.way for one in composed] == ["face", "source", "source", "source"]
    assert composed[0].anchor == ((45 / 90, 30 / 120), (20 / 64, 50 / 96))
    assert composed[1].anchor == ((45 / 90, 40 / 120), (20 / 64, 50 / 96))
    assert composed[3].anchor is None


def test_a_dataset_without_anything_for_it(tmp_path: Path) -> None:
    write_dataset(tmp_path / "ours", {"basic-000000.tar": [without_views(0)]})
    export_dataset(tmp_path / "ours", "imig100k", output=tmp_path / "out")
    assert list(read_everything(tmp_path / "out")) == []
    with pytest.raises(DataError, match="name no samples"):
        import_dataset(tmp_path / "out", "imig100k", output=tmp_path / "back")


# --- damaged and hostile


def entry_of(root: Path, folder: str, change: Callable[[dict[str, Any]], object]) -> None:
    entries = read_entries(root, folder)
    change(entries[0])
    write_entries(root, folder, entries)


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    return lambda root: entry_of(root, "imig-basic", change)


def composed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    return lambda root: entry_of(root, "imig-composite", change)


def view(number: int = 0, **values: object) -> Callable[[Path], None]:
    return edited(lambda entry: entry["reference_images"][number].update(values))


def file(name: str, plant: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda root: plant(root / name)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def resize(path: Path) -> None:
    Image.new("1", (9, 9), 1).save(path)


BASIC, COMPOSITE = "imig-basic-000012", "imig-composite-000003"
CROP, CROP_MASK = "imig-basic/instance_data/000012_0.jpg", "masked_instance_data/000012_0_mask.png"
FACE = "imig-composite/aligned_faces/000003_1_aligned_face.png"
FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no target": (file("imig-basic/data/000012.jpg", Path.unlink), BASIC, "000012.jpg is missing"),
    "no crop": (file(CROP, Path.unlink), BASIC, f"{CROP} is missing"),
    "no mask": (file(f"imig-basic/{CROP_MASK}", Path.unlink), BASIC, f"{CROP_MASK} is missing"),
    "no edit": (
        file("imig-basic/kontext_data/000012_2.jpg", Path.unlink),
        BASIC,
        "kontext_data/000012_2.jpg is missing",
    ),
    "no face": (file(FACE, Path.unlink), COMPOSITE, f"{FACE} is missing"),
    "a truncated picture": (file(CROP, cut), BASIC, f"{CROP} is broken: image file is truncated"),
    "a truncated mask": (file(f"imig-basic/{CROP_MASK}", cut), BASIC, f"{CROP_MASK} is broken"),
    "a picture that is none": (
        file(CROP, lambda path: path.write_text("404: not found")),
        BASIC,
        f"{CROP} is broken: it is of no format that imig reads",
    ),
    "a folder for a picture": (
        file(CROP, make_folder),
        BASIC,
        f"{CROP} cannot be read: it is no regular file",
    ),
    "an empty mask": (
        file(f"imig-basic/{CROP_MASK}", lambda path: Image.new("1", (40, 60)).save(path)),
        BASIC,
        f"{CROP_MASK} is broken: nothing of it is the subject",
    ),
    "sizes that differ": (file(f"imig-basic/{CROP_MASK}", resize), BASIC, "40x60 and 9x9 pixels"),
    "a face without transparency": (
        file(FACE, lambda path: Image.new("RGB", (9, 9)).save(path)),
        COMPOSITE,
        f"{FACE} is broken: it has no transparency",
    ),
    "NaN": (view(bbox=[0, 0, float("nan"), 9]), BASIC, "reference_images.0.bbox.2"),
    "infinity": (view(bbox=[0, 0, float("inf"), 9]), BASIC, "reference_images.0.bbox.2"),
    "a huge number": (view(bbox=[0, 0, 10**400, 9]), BASIC, "reference_images.0.bbox.2"),
    "a huge fraction": (view(bbox=[0, 0, 1e300, 9]), BASIC, "reference_images.0.bbox.2"),
    "a box elsewhere": (
        view(bbox=[900, 0, 1000, 9]),
        BASIC,
        "bbox of instance 0 [900, 0, 1000, 9] has no area in a picture of 96x96",
    ),
    "a box of no area": (view(bbox=[9, 9, 9, 20]), BASIC, "has no area"),
    "three corners": (view(bbox=[1, 2, 3]), BASIC, "reference_images.0.bbox"),
    "a box of text": (view(bbox="1234"), BASIC, "reference_images.0.bbox"),
    "a number for a phrase": (view(phrase=7), BASIC, "reference_images.0.phrase"),
    "an empty phrase": (view(phrase=" "), BASIC, "reference_images.0.phrase"),
    "a path for a number": (view(index="../../0"), BASIC, "reference_images.0.index"),
    "the same number twice": (view(1, index=0), BASIC, "two of its instances have the same index"),
    "no prompt": (edited(lambda entry: entry.pop("prompt")), BASIC, "prompt: Field required"),
    "10,000 instances": (
        edited(lambda entry: entry.update(reference_images=entry["reference_images"] * 5000)),
        BASIC,
        "at most 100 items",
    ),
    "lists of different lengths": (
        composed(lambda entry: entry["bbox"].pop()),
        COMPOSITE,
        "bbox has 1 values for 2 instances",
    ),
    "nothing was found": (
        composed(lambda entry: entry["bbox"].__setitem__(1, None)),
        COMPOSITE,
        "instance 3 has neither a bbox nor an aligned face",
    ),
    "a score that is none": (
        composed(lambda entry: entry["bbox"][0].update(score=17)),
        COMPOSITE,
        "bbox.0.score",
    ),
}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five good samples, and one with each fault, numbered from 100 on; as a dataset."""
    root = write_published(tmp_path_factory.mktemp("damaged") / "all")
    for number, (plant, sample_id, _) in enumerate(FAULTS.values(), start=100):
        folder, _, index = sample_id.rpartition("-")
        other = write_published(tmp_path_factory.mktemp("one"))
        plant(other)
        for path in sorted((other / folder).rglob(f"{index}*")):
            place = root / path.relative_to(other)
            path.rename(place.with_name(path.name.replace(index, f"{number:06d}")))
        entries = [*read_entries(root, folder), {**read_entries(other, folder)[0], "index": number}]
        write_entries(root, folder, entries)
    import_dataset(root, "imig100k", output=root.with_name("in"))
    return root.with_name("in")


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_missing_or_broken_is_named(damaged: Path, fault: str) -> None:
    _, sample_id, words = FAULTS[fault]
    folder, _, index = sample_id.rpartition("-")
    number = f"{100 + list(FAULTS).index(fault):06d}"
    (one,) = (one for one in read_quarantine(damaged) if one.id == f"{folder}-{number}")
    assert one.traceback == ""
    assert words.replace(index, number) in one.error


def test_the_others_go_on(damaged: Path) -> None:
    assert len(imig.Dataset(damaged)) == 5
    assert validate_dataset(damaged).faults == []


def test_everything_that_a_sample_lacks_is_said(published: Path, tmp_path: Path) -> None:
    shutil.rmtree(published / "imig-basic" / "kontext_data")
    import_dataset(published, "imig100k", output=tmp_path / "in")
    first = next(one for one in read_quarantine(tmp_path / "in") if one.id == BASIC)
    assert "000012_0.jpg is missing; " in first.error
    assert "000012_2.jpg is missing" in first.error


def test_entries_without_a_number_of_their_own(published: Path, tmp_path: Path) -> None:
    (entry,) = read_entries(published, "imig-composite")
    strange = [{**entry, "index": "0/../9"}, 7, None, {**entry, "index": -1}, {**entry, "index": 8}]
    write_entries(published, "imig-composite", [entry, entry, *strange])
    import_dataset(published, "imig100k", output=tmp_path / "in")
    errors = {one.path: one.error for one in read_quarantine(tmp_path / "in")}
    place = "imig-composite/filtered_prompts.json"
    assert set(errors) == {f"{place}#{at}" for at in range(1, 6)} | {"imig-composite-000008"}
    assert "an earlier entry has the index 3" in errors[f"{place}#1"]
    assert "entry 2: index: Input should be a valid integer" in errors[f"{place}#2"]
    assert validate_dataset(tmp_path / "in").faults == []


LISTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "cannot read"),
    "a folder": (make_folder, "it is no regular file"),
    "truncated": (cut, "is damaged near byte"),
    "empty": (lambda path: path.write_text(""), "it is no list"),
    "an object": (lambda path: path.write_text('{"index": 1}'), "it is no list"),
    "no comma": (lambda path: path.write_text("[{} {}]"), "a comma or the list's end is missing"),
    "no end": (lambda path: path.write_text("[{},"), "is damaged near byte 4"),
    "more behind it": (lambda path: path.write_text("[] []"), "more behind the list's end"),
    "no UTF-8": (lambda path: path.write_bytes(b'["\xff\xfe"]'), "it is no UTF-8"),
    "too deep": (lambda path: path.write_text("[" * 10**5), "nested too deeply"),
    "a number of 10,000 digits": (lambda path: path.write_text(f"[{'9' * 10**4}]"), "digits"),
}


@pytest.mark.parametrize("fault", LISTS)
def test_a_list_that_cannot_be_read_stops_it_before_anything_is_written(
    published: Path, tmp_path: Path, fault: str
) -> None:
    plant, words = LISTS[fault]
    plant(published / "imig-complex" / "filtered_prompts.json")
    with pytest.raises(ImigError) as caught:
        import_dataset(published, "imig100k", output=tmp_path / "in")
    assert "imig-complex/filtered_prompts.json" in caught.value.message
    assert words in caught.value.message
    assert not (tmp_path / "in").exists()


def test_a_folder_that_is_no_imig_100k(published: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has none of the folders imig-basic"):
        import_dataset(published / "imig-basic", "imig100k", output=tmp_path / "in")


def test_pictures_of_another_kind_are_written_anew_and_counted(
    published: Path, tmp_path: Path
) -> None:
    picture, mask = published / CROP, published / "imig-basic" / CROP_MASK
    Image.open(picture).convert("L").save(picture)
    Image.open(mask).convert("L").save(mask)
    entry_of(published, "imig-basic", lambda entry: entry.update(seed=1, nouns=[]))
    edited(lambda entry: entry["reference_images"][1].update(bbox=[50.4, 30, 97, 90]))(published)
    done = import_dataset(published, "imig100k", output=tmp_path / "in")
    assert {kind: one.count for kind, one in done.losses.kinds.items()} == {
        "bytes of pictures of another kind than the published": 2,
        "boxes that reached beyond their picture or were no whole pixels": 1,
        "keys that IMIG-100K does not have": 1,
    }
    assert validate_dataset(tmp_path / "in").faults == []
    cup = imig.Dataset(tmp_path / "in")[BASIC].record.instances[1]
    # Its crop is not the box any more: where it was cut out is not known.
    assert (cup.box, cup.mask, cup.references[0].crop_box) == ((50, 30, 96, 90), None, None)


def test_numbers_of_views_have_as_many_digits_as_their_names() -> None:
    given = make_sample(0).scene.instances[0].references[0]
    chosen = [
        _Chosen(instance, given.model_copy(update={"name": name}))
        for instance, name in zip(make_sample(0).scene.instances, ("ref05", "ref105"), strict=False)
    ]
    assert _file_numbers(chosen) == [5, 105]

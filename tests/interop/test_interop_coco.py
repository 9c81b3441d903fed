"""COCO: out, read and evaluated by pycocotools, and in again; damaged files."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from support.coco_files import image, marked, picture, write_coco
from support.tiny_dataset import make_sample, seal, write_named, write_tiny_dataset

import imig
from imig.checks.dataset import validate_dataset
from imig.cli import main
from imig.errors import DataError, UsageError
from imig.interop.exporting import export_dataset
from imig.interop.ids import keys_to_ids
from imig.interop.importing import import_dataset
from imig.layout.masks import mask_to_rle
from imig.sample import Sample
from imig.schema import InstanceScores, SceneScores
from imig.shards.tables import read_quarantine
from imig.shards.writer import write_tar
from imig.stages.instances import set_instances


def odd_samples() -> list[Sample]:
    """Unicode, no instance, no mask, a pixel, a hole and an island in it."""
    samples = [make_sample(number) for number in range(5)]
    names, empty, unmasked, pixel, holed = (sample.scene for sample in samples)
    names.caption = 'Ein Käsekuchen 蛋糕 \u2028 neben "drei" Bällen'
    names.instances[0].phrase, names.instances[0].noun = (
        "der rote Käsekuchen 蛋糕",
        "Käsekuchen 蛋糕",
    )
    for reference in (one for each in empty.instances for one in each.references):
        samples[1].files.pop(reference.image)
        samples[1].files.pop(reference.mask or "") if reference.mask else None
    empty.caption = ""
    set_instances(samples[1], [], layer_order=[])
    first = unmasked.instances[0]
    first.mask, first.area = None, None
    mask = np.zeros((64, 96), dtype=bool)
    mask[63, 95] = True
    last = pixel.instances[2]
    last.mask, last.area, last.box = mask_to_rle(mask), 1, (95, 63, 96, 64)
    set_instances(samples[3], pixel.instances, layer_order=[])
    mask = np.zeros((64, 96), dtype=bool)
    mask[2:30, 66:94], mask[6:26, 70:90], mask[10:20, 75:85] = True, False, True
    mask[31, 95] = True  # touches at no more than a corner
    last = holed.instances[2]
    last.mask, last.area, last.box = mask_to_rle(mask), int(mask.sum()), (66, 2, 96, 32)
    set_instances(samples[4], holed.instances, layer_order=[])
    return samples


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd") / "dataset"
    samples = odd_samples()
    shards = {"basic-000000.tar": samples[:2], "basic-000001.tar": samples[2:]}
    folder.mkdir()
    seal(folder, shards, {name: write_tar(folder / name, its) for name, its in shards.items()})
    return folder


def loaded(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.mark.parametrize("segmentation", ["rle", "runs", "polygons"])
def test_what_went_out_comes_back(dataset: Path, tmp_path: Path, segmentation: str) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    overrides = [f"segmentation={segmentation}"]
    done = export_dataset(dataset, "coco", output=out, overrides=overrides)
    assert (done.scenes, done.files) == (5, 7)
    assert sorted(done.losses.kinds) == ["layer order", "references", "scores", "style"]
    again = import_dataset(out, "coco", output=back)
    assert again.losses.kinds == {}
    assert validate_dataset(back).faults == []
    before, after = imig.Dataset(dataset), imig.Dataset(back)
    assert after.ids == before.ids
    for one, other in zip(before, after, strict=True):
        assert other.files["target.jpg"] == one.files["target.jpg"]
        assert other.caption == " ".join(one.caption.split())
        for was, now in zip(one.record.instances, other.record.instances, strict=True):
            kept = ("phrase", "noun", "box", "mask", "area", "identity_id")
            assert [getattr(now, key) for key in kept] == [getattr(was, key) for key in kept]


def write(folder: Path, samples: list[Sample], *, shard: str = "basic-000000.tar") -> Path:
    folder.mkdir()
    seal(folder, {shard: samples}, {shard: write_tar(folder / shard, samples)})
    return folder


@pytest.mark.parametrize("format_name", ["coco", "yolo"])
def test_what_has_no_place_is_said(tmp_path: Path, format_name: str) -> None:
    full = make_sample(0, subset="flexible")
    full.scene.instances[1].face_box = full.scene.instances[1].box
    bare = make_sample(1, subset="flexible")
    scene = bare.scene
    scene.subset, scene.id, scene.style, scene.scores = "basic", "basic-1", None, SceneScores()
    for one in scene.instances:
        one.scores = InstanceScores()
    lost = []
    for sample in (full, bare):
        folder = tmp_path / sample.scene.id
        shard = f"{sample.scene.subset}-000000.tar"
        dataset = write(folder, [sample], shard=shard)
        done = export_dataset(dataset, format_name, output=tmp_path / f"{sample.scene.id} out")
        lost.append({kind: one.first[0] for kind, one in done.losses.kinds.items()})
    said = {kind: lost[0][kind].partition(": ")[2] for kind in lost[0].keys() - lost[1].keys()}
    assert said == {
        "faces": "1",
        "scores": "caption_similarity, coverage, phrase_margin, phrase_similarity, sharpness",
        "style": "plain",
        "subset": "flexible",
    }


def test_licences_go_through_from_coco_to_coco(tmp_path: Path) -> None:
    """COCO's own entries; one that no picture has, a picture without any, names alone."""
    licences = [
        {"id": 1, "name": "Attribution License", "url": "http://creativecommons.org/licenses/by/2.0/"},
        {"id": 3, "name": "United States Government Work", "url": "http://www.usa.gov/copyright.shtml"},
        {"id": 4, "name": "of no picture", "url": ""},
        {"id": 8, "name": "our own", "url": ""},
        {"id": 9, "name": "", "url": "https://a.org/terms"},
    ]  # fmt: skip
    stated = [8, 1, 3, None, 1, 9]
    images = [image(n, license=one) for n, one in enumerate(stated, start=1)]
    source, first, out = tmp_path / "source", tmp_path / "first", tmp_path / "out"
    write_coco(
        source,
        [marked(1, [0, 0, 9, 9])],
        images=images,
        captions=[{"id": 1, "image_id": 1, "caption": "A dog."}],
        pictures={f"{n}.jpg": picture() for n in range(1, 7)},
    )
    path = source / "annotations" / "instances.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "licenses": licences}))
    import_dataset(source, "coco", output=first)
    done = export_dataset(first, "coco", output=out)
    assert "licences" not in done.losses.kinds
    by_id = {one["id"]: (one["name"], one["url"]) for one in licences}
    for name in ("instances", "captions"):
        written = json.loads((out / "annotations" / f"{name}.json").read_text())
        found = {one["id"]: (one["name"], one["url"]) for one in written["licenses"]}
        assert len(found) == 4
        assert [found.get(one.get("license")) for one in written["images"]] == [
            None if one is None else by_id[int(str(one))] for one in stated
        ]
    import_dataset(out, "coco", output=tmp_path / "second")
    before, after = imig.Dataset(first), imig.Dataset(tmp_path / "second")
    texts = [one.record.source.licence for one in before]
    assert texts[1] == "Attribution License http://creativecommons.org/licenses/by/2.0/"
    assert [one.record.source.licence for one in after] == texts


@pytest.mark.parametrize("segmentation", ["rle", "runs", "polygons"])
def test_pycocotools_loads_it_and_finds_it_equal_to_itself(
    dataset: Path, tmp_path: Path, segmentation: str
) -> None:
    export_dataset(dataset, "coco", output=tmp_path, overrides=[f"segmentation={segmentation}"])
    truth = loaded(tmp_path / "annotations" / "instances.json")
    assert [one["name"] for one in truth.loadCats(truth.getCatIds())] == ["Käsekuchen 蛋糕", "ball"]
    views = list(imig.Dataset(dataset))
    for image_id, view in zip(truth.getImgIds(), views, strict=True):
        assert truth.imgs[image_id]["file_name"] == f"{view.id}.jpg"
        its = truth.loadAnns(truth.getAnnIds(imgIds=image_id))
        for one, instance in zip(its, view.instances, strict=True):
            if instance.mask is not None:
                assert (truth.annToMask(one).astype(bool) == instance.mask).all()
    captions = loaded(tmp_path / "annotations" / "captions.json")
    assert [one["caption"] for one in captions.anns.values()] == [
        view.caption for view in views if view.caption
    ]
    found = [
        {**{key: one[key] for key in ("image_id", "category_id", "bbox")}, "score": 0.9}
        for one in truth.anns.values()
    ]
    assert precision(truth, found, kind="bbox") == 1.0
    masks = [one for one in truth.anns.values() if one["segmentation"]]
    truth.dataset["annotations"] = masks
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    found = [
        {
            "image_id": one["image_id"],
            "category_id": one["category_id"],
            "segmentation": truth.annToRLE(one),
            "score": 0.9,
        }
        for one in masks
    ]
    assert precision(truth, found, kind="segm") == 1.0
    # The measure can fail: shifted boxes are not found.
    moved = [
        {**one, "bbox": [x + 9, y + 9, w, h]}
        for one in truth.anns.values()
        for x, y, w, h in [one["bbox"]]
    ]
    assert precision(truth, [{**one, "score": 0.9} for one in moved], kind="bbox") < 0.7


def precision(truth: COCO, found: list[dict[str, object]], *, kind: str) -> float:
    """Mean average precision, over all that can be measured."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(found), kind)
        largest = max(len(truth.getAnnIds(imgIds=one)) for one in truth.getImgIds())
        evaluation.params.maxDets = [largest]
        evaluation.evaluate()
        evaluation.accumulate()
    values = evaluation.eval["precision"]
    return float(values[values > -1].mean())


def test_the_files_are_the_same_each_time(dataset: Path, tmp_path: Path) -> None:
    for name, workers in (("a", 1), ("b", 2)):
        export_dataset(dataset, "coco", output=tmp_path / name, workers=workers)
    for file in ("instances.json", "captions.json"):
        first, second = ((tmp_path / one / "annotations" / file).read_bytes() for one in "ab")
        assert first == second
        json.loads(first)


def test_the_category_may_be_the_phrase(dataset: Path, tmp_path: Path) -> None:
    export_dataset(dataset, "coco", output=tmp_path, overrides=["category=phrase"])
    values = json.loads((tmp_path / "annotations" / "instances.json").read_text("utf-8"))
    assert "a blue ball" in [one["name"] for one in values["categories"]]


def test_two_sides_have_the_same_categories(tmp_path: Path) -> None:
    """Their nouns differ: the later side begins with the categories of the earlier one."""
    found, earlier = [], list[str]()
    for side, nouns in (("train", ["owl", "cup"]), ("val", ["ant", "owl"])):
        dataset = write_named(tmp_path / f"{side}-shards", {0: nouns})
        export_dataset(dataset, "coco", output=tmp_path / side, overrides=earlier)
        path = tmp_path / side / "annotations" / "instances.json"
        earlier = [f"classes={path}"]
        values = json.loads(path.read_text("utf-8"))
        names = {one["id"]: one["name"] for one in values["categories"]}
        assert [names[one["category_id"]] for one in values["annotations"]] == nouns
        found.append(names)
    assert found == [{1: "cup", 2: "owl"}, {1: "cup", 2: "owl", 3: "ant"}]


NO_EARLIER: dict[str, tuple[str | None, str]] = {
    "not there": (None, "cannot read"),
    "no JSON": ('{"categories": [', "is no JSON: byte"),
    "a list": ("[]", "has no categories"),
    "captions": ('{"images": [], "annotations": []}', "has no categories"),
    "YOLO's": ("names: [owl]", "{ expected"),
    "no name": ('{"categories": [{"id": 1}]}', "byte 16: a category without a number (id) or a"),
    "no number": ('{"categories": [{"id": "a", "name": "owl"}]}', "a category without a number"),
    "half a character": (
        '{"categories": [{"id": 1, "name": "\\ud800"}]}',
        "the category's name is no text",
    ),
    "no object": ('{"categories": [5]}', "a category without a number"),
    "a number twice": (
        '{"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
        "category 1 stands there twice",
    ),
}


@pytest.mark.parametrize("case", NO_EARLIER)
def test_what_is_no_file_of_categories_is_named(
    tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, words = NO_EARLIER[case]
    path = tmp_path / "earlier.json"
    if text is not None:
        path.write_text(text)
    dataset = write_named(tmp_path / "shards", {0: ["owl"]})
    command = ["export", "coco", str(dataset), "--output", str(tmp_path / "out")]
    assert main([*command, "--set", f"classes={path}"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "annotations/instances.json of an earlier `imig export coco`" in said
    assert not (tmp_path / "out").exists()


def test_a_dataset_without_captions_has_no_file_of_them(tmp_path: Path) -> None:
    sample = make_sample(0)
    sample.scene.caption = ""
    folder = tmp_path / "dataset"
    shard = "basic-000000.tar"
    seal(folder, {shard: [sample]}, {shard: write_tar(folder / shard, [sample])})
    export_dataset(folder, "coco", output=tmp_path / "out")
    assert sorted(one.name for one in (tmp_path / "out" / "annotations").iterdir()) == [
        "instances.json"
    ]


def test_other_peoples_layouts_are_found(tmp_path: Path) -> None:
    """COCO's own, Roboflow's, and a file by its path."""
    own = write_coco(tmp_path / "own", [marked(1, [10, 20, 40, 50])])
    (own / "images").rename(own / "val2017")
    instances = own / "annotations" / "instances_val2017.json"
    (own / "annotations" / "instances.json").rename(instances)
    roboflow = tmp_path / "roboflow"
    roboflow.mkdir()
    (roboflow / "1.jpg").write_bytes(picture())
    (roboflow / "_annotations.coco.json").write_bytes(instances.read_bytes())
    for number, source in enumerate((own, roboflow, instances)):
        done = import_dataset(source, "coco", output=tmp_path / f"{number}")
        assert done.manifest.counts.written == 1
        assert imig.Dataset(tmp_path / f"{number}")["1"].record.instances[0].phrase == "dog"
    (own / "annotations" / "instances_train2017.json").write_bytes(instances.read_bytes())
    with pytest.raises(UsageError, match="has several files of annotations"):
        import_dataset(own, "coco", output=tmp_path / "several")
    with pytest.raises(UsageError, match="has no file of annotations"):
        import_dataset(tmp_path / "own" / "val2017", "coco", output=tmp_path / "none")


def test_what_cannot_be_read_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    names = ["good.jpg", "out/..", "gone.jpg", "none.jpg", "small.jpg", "empty.jpg"]
    listed = [image(number, file_name=name) for number, name in enumerate(names, start=1)]
    pictures = {
        "good.jpg": picture(),
        "none.jpg": b"no picture",
        "small.jpg": picture((80, 60)),
        "empty.jpg": picture(),
    }
    crowd = {**marked(2, [1, 1, 50, 50]), "iscrowd": 1}
    wrong = {**marked(3, [1, 1, 50, 50]), "category_id": 44}
    source = write_coco(
        tmp_path / "mine",
        [marked(1, [10, 20, 40, 50]), crowd, wrong],
        images=listed,
        pictures=pictures,
    )
    done = import_dataset(source, "coco", output=tmp_path / "back")
    assert (done.manifest.counts.written, done.manifest.counts.quarantined) == (2, 4)
    errors = {one.path: one.error for one in read_quarantine(tmp_path / "back")}
    assert "leads out of the folder" in errors[".."]
    assert "cannot open gone.jpg" in errors["gone"]
    assert "unreadable image" in errors["none"]
    assert "another size than its annotations: width 80" in errors["small"]
    assert done.losses.kinds["annotation left out"].count == 1
    assert len(imig.Dataset(tmp_path / "back")["empty"].instances) == 0
    assert validate_dataset(tmp_path / "back").faults == []


def test_what_the_file_has_in_vain_is_said_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crowd = {**marked(2, [1, 1, 50, 50]), "iscrowd": 1}
    stranger = {**marked(3, [1, 1, 50, 50]), "image_id": 77}
    source = write_coco(
        tmp_path / "mine",
        [marked(1, [10, 20, 40, 50]), crowd, stranger],
        images=[image(1), image(1), {"id": 2}, {"file_name": "x.jpg"}, image(5)],
        categories=[{"id": 1, "name": "dog"}, {"id": 2}],
    )
    back = tmp_path / "back"
    assert main(["import", "coco", str(source), "--output", str(back)]) == 0
    said = capsys.readouterr().out
    reported = json.loads((back / "report.json").read_text("utf-8"))["source"]
    for words in (
        "pictures that are not there, whose scenes are quarantined: 1 of 2 (5.jpg)",
        "crowd regions, which show no single thing, left out: 1 (id 2)",
        "annotations of pictures that it does not name, left out: 1 (byte ",
        "images whose id stands there twice, left out: 1 (id 1)",
        "images without file_name or coco_url, left out: 1 (id 2)",
        "images without an id, left out: 1",
        "categories without id or name, left out: 1",
    ):
        assert words in said
        assert any(words in remark for remark in reported)
    again = ["import", "coco", str(source), "--output", str(tmp_path / "json"), "--json"]
    assert main(again) == 0
    assert json.loads(capsys.readouterr().out)["remarks"] == reported


def test_remarks_are_lines_whatever_the_file_is_called(tmp_path: Path) -> None:
    crowd = {**marked(2, [1, 1, 50, 50]), "iscrowd": 1}
    images = [image(1), image(2, file_name="1.jpg")]
    source = write_coco(tmp_path / "mine", [marked(1, [10, 20, 40, 50]), crowd], images=images)
    listed = source / "annotations" / "instances.json"
    listed.rename(listed.with_name("instances_a\nb.json"))
    done = import_dataset(source, "coco", output=tmp_path / "back")
    assert [one.partition(":")[0] for one in done.remarks] == ["instances_a\\nb.json"] * 2


def test_a_picture_named_by_windows_is_called_by_its_last_part(tmp_path: Path) -> None:
    listed = [image(1, file_name="train\\1.jpg")]
    marks = [marked(1, [10, 20, 40, 50])]
    source = write_coco(
        tmp_path / "mine", marks, images=listed, pictures={"train/1.jpg": picture()}
    )
    import_dataset(source, "coco", output=tmp_path / "back")
    assert imig.Dataset(tmp_path / "back").ids == ["1"]


def test_messages_name_the_settings_of_an_import(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "mine", [marked(1, [10, 20, 40, 50])])
    (source / "empty").mkdir()
    output = tmp_path / "back"
    with pytest.raises(DataError, match="--set images=FOLDER") as caught:
        import_dataset(source, "coco", output=output, overrides=["images=empty"])
    assert "source.path" not in str(caught.value)
    with pytest.raises(UsageError, match="images is the folder of the pictures, annotations the"):
        import_dataset(source, "coco", output=output, overrides=["images=gone"])
    with pytest.raises(DataError, match=r"too many pixels: .* or raise --set max_pixels") as caught:
        import_dataset(source, "coco", output=output, overrides=["max_pixels=19199"])
    assert "source.max_pixels" not in str(caught.value)
    done = import_dataset(source, "coco", output=tmp_path / "other", overrides=["max_pixels=19200"])
    assert done.manifest.counts.written == 1


NAMED: dict[str, tuple[list[str], list[str]]] = {
    "a picture under two ids": (["a.jpg", "b.jpg", "a.jpg"], ["a", "b", "a#2"]),
    "and three": (["a.jpg"] * 3, ["a", "a#2", "a#3"]),
    "in two folders, once doubled": (
        ["x/a.jpg", "y/a.jpg", "y/a.jpg"],
        ["x/a.jpg", "y/a.jpg", "y/a.jpg#2"],
    ),
    "the number is a name too": (
        ["a.jpg", "a.jpg", "a#2.jpg", "a.jpg"],
        ["a", "a#3", "a#2", "a#4"],
    ),
    "a stem that is another's name": (
        ["x/a.jpg", "a.jpg", "a.jpg.png"],
        ["x/a.jpg", "a.jpg", "a.jpg#2"],
    ),
}


@pytest.mark.parametrize("case", NAMED)
def test_pictures_that_are_named_alike_are_a_scene_each(tmp_path: Path, case: str) -> None:
    names, keys = NAMED[case]
    listed = [image(number, file_name=name) for number, name in enumerate(names, start=1)]
    marks = [{**marked(n, [n, 20, 40, 50]), "image_id": n} for n in range(1, len(names) + 1)]
    source = write_coco(
        tmp_path / "mine", marks, images=listed, pictures={name: picture() for name in names}
    )
    done = import_dataset(source, "coco", output=tmp_path / "back")
    assert done.manifest.counts.quarantined == 0
    boxes = {keys_to_ids([key])[key]: (n, 20, n + 40, 70) for n, key in enumerate(keys, start=1)}
    scenes = {one.id: one.record.instances[0].box for one in imig.Dataset(tmp_path / "back")}
    assert scenes == boxes
    doubled = sorted({name for name in names if names.count(name) > 1})
    words = "instances.json: pictures that have several ids, a scene for each: "
    assert list(done.remarks) == [f"{words}1 ({name})" for name in doubled]


def test_a_file_that_is_cut_off_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_coco(tmp_path / "mine", [marked(1, [10, 20, 40, 50])])
    path = source / "annotations" / "instances.json"
    path.write_bytes(path.read_bytes()[:-20])
    assert main(["import", "coco", str(source), "--output", str(tmp_path / "back")]) == 1
    assert "instances.json is no JSON: byte" in capsys.readouterr().err
    assert not (tmp_path / "back").exists()
    with pytest.raises(DataError):
        import_dataset(source, "coco", output=tmp_path / "back")


@pytest.mark.long
def test_thousands_of_annotations_in_one_picture(tmp_path: Path) -> None:
    """A scene holds a thousand instances; the largest are taken, and the others counted."""
    many = [{**marked(n, [n % 80 * 2, n // 80 % 60 * 2, 1, 1]), "area": 1} for n in range(10_000)]
    source = write_coco(tmp_path / "mine", [*many, marked(10_001, [0, 0, 2, 2])])
    done = import_dataset(source, "coco", output=tmp_path / "back")
    (scene,) = imig.Dataset(tmp_path / "back")
    assert len(scene.record.instances) == len({one.phrase for one in scene.record.instances})
    assert 900 < len(scene.record.instances) <= 1000
    assert "annotations beyond the largest ones left out" in done.losses.kinds
    out = export_dataset(tmp_path / "back", "coco", output=tmp_path / "out")
    assert out.scenes == 1


def test_the_dataset_is_unharmed(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "dataset", scenes=2)
    with pytest.raises(UsageError, match="--set segmentation"):
        export_dataset(folder, "coco", output=tmp_path / "o", overrides=["segmentation=png"])
    assert not (tmp_path / "o").exists()

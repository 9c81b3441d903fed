"""source.kind coco: annotations become instances; what is odd costs itself and nothing else."""

from __future__ import annotations

import io
import json
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from support.coco_files import SIZE, image, marked, picture, write_coco

from imig.engine.plan import make_plan
from imig.errors import CannotOpenError, DataError, ImigError, SourceLostError, UsageError
from imig.layout.masks import Mask, rle_to_mask
from imig.recipe.file import load_recipe
from imig.sample import Sample
from imig.schema import Instance
from imig.stages.base import BuildContext
from imig.stages.source import SourceStage
from imig.stages.sources.coco_file import read_coco_file
from imig.stages.sources.config import CocoSource
from imig.stages.sources.distinct import distinct_phrases
from imig.stages.sources.json_arrays import JsonArrays, read_element

LEFT, RIGHT = marked(1, [10, 20, 40, 50]), marked(2, [90, 30, 30, 60])


def stage_of(folder: Path, **settings: Any) -> SourceStage:
    config = CocoSource(
        kind="coco",
        path=str(folder / "images"),
        **{
            "annotations": str(folder / "annotations" / "instances.json"),
            "min_side": 16,
            **settings,
        },
    )
    return SourceStage(config, BuildContext(recipe_seed=3, subset="basic"))


def read(folder: Path, **settings: Any) -> Sample:
    stage = pickle.loads(pickle.dumps(stage_of(folder, **settings)))  # as a worker gets it
    sample: Sample = stage(stage.enumerate(0, 1))[0]
    return sample


def mask_of(instance: Instance) -> Mask:
    assert instance.mask is not None
    return rle_to_mask(instance.mask)


def test_a_pictures_licence_is_kept(tmp_path: Path) -> None:
    write_coco(tmp_path, [LEFT])
    path = tmp_path / "annotations" / "instances.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written["licenses"] = [
        {"id": 4, "name": "CC BY 2.0", "url": "https://creativecommons.org/licenses/by/2.0/"}
    ]
    written["images"][0]["license"] = 4
    path.write_text(json.dumps(written), encoding="utf-8")
    licence = read(tmp_path).scene.source.licence
    assert licence == "CC BY 2.0 https://creativecommons.org/licenses/by/2.0/"


def test_annotations_become_instances(tmp_path: Path) -> None:
    said = [
        {"id": 5, "image_id": 1, "caption": "Two dogs &amp; a cake."},
        {"id": 6, "image_id": 1, "caption": "Two dogs, seen from the side, and a cake on a plate."},
    ]
    cake = marked(3, [60, 80, 20, 20], category_id=90)
    write_coco(tmp_path, [RIGHT, LEFT, cake], captions=said)
    captions = str(tmp_path / "annotations" / "captions.json")
    stage = stage_of(tmp_path, captions=captions)
    assert stage.writes == {"target", "caption", "nouns", "boxes", "masks"}
    sample = read(tmp_path, captions=captions)
    scene = sample.scene
    assert scene.caption == "Two dogs & a cake."
    assert scene.nouns == ["left dog", "Käsekuchen 蛋糕", "right dog"]
    assert [(one.phrase, one.noun, one.box, one.area) for one in scene.instances] == [
        ("left dog", "dog", (10, 20, 50, 70), 2000),
        ("Käsekuchen 蛋糕", "Käsekuchen 蛋糕", (60, 80, 80, 100), 400),
        ("right dog", "dog", (90, 30, 120, 90), 1800),
    ]
    assert sorted(scene.layer_order) == [0, 1, 2]
    assert len({one.identity_id for one in scene.instances}) == 3
    assert sample.files["target.jpg"] == picture()
    assert sample.oddities == []
    longest = read(tmp_path, captions=captions, caption="longest")
    assert longest.scene.caption == said[1]["caption"]


SEGMENTATIONS: dict[str, object] = {
    "polygon": LEFT["segmentation"],
    "two polygons": [[10, 20, 50, 20, 50, 40, 10, 40], [10, 40, 50, 40, 50, 70, 10, 70]],
    "run lengths": {
        "size": [120, 160],
        "counts": [10 * 120 + 20, 50, *([70, 50] * 39), 50 + 110 * 120],
    },
    "compressed run lengths": None,
}


@pytest.mark.parametrize("kind", SEGMENTATIONS)
def test_masks_of_every_kind(tmp_path: Path, kind: str) -> None:
    expected = np.zeros((120, 160), dtype=bool)
    expected[20:70, 10:50] = True
    encoded = coco.encode(np.asfortranarray(expected.astype(np.uint8)))
    compressed = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    write_coco(tmp_path, [{**LEFT, "segmentation": SEGMENTATIONS[kind] or compressed}])
    (instance,) = read(tmp_path).scene.instances
    assert (mask_of(instance) == expected).all()


def test_boxes_alone_leave_masks_to_segment(tmp_path: Path) -> None:
    write_coco(tmp_path, [{**LEFT, "segmentation": []}, {**RIGHT, "segmentation": None}])
    assert stage_of(tmp_path).writes == {"target", "nouns", "boxes"}
    assert [one.mask for one in read(tmp_path).scene.instances] == [None, None]
    write_coco(tmp_path, [LEFT, RIGHT])
    assert stage_of(tmp_path, masks=False).writes == {"target", "nouns", "boxes"}
    assert [one.mask for one in read(tmp_path, masks=False).scene.instances] == [None, None]
    write_coco(tmp_path, [LEFT, {**RIGHT, "segmentation": []}])
    assert stage_of(tmp_path).writes == {"target", "nouns", "boxes", "masks"}
    assert [one.mask is None for one in read(tmp_path).scene.instances] == [False, True]


@pytest.mark.parametrize("lying", range(1, 9))
@pytest.mark.parametrize("meant", ["stored", "upright"])
def test_annotations_are_turned_as_their_picture_is(tmp_path: Path, lying: int, meant: str) -> None:
    """A white rectangle in a black picture, annotated as it lies in the file or as it is seen."""
    pixels = np.zeros((120, 160, 3), np.uint8)
    pixels[16:56, 8:72] = 255
    box: list[float] = [8, 16, 64, 40]
    stored = Image.fromarray(pixels)
    data = io.BytesIO()
    tags = Image.Exif()
    tags[0x0112] = lying
    stored.save(data, "JPEG", quality=95, exif=tags)
    size = SIZE
    if meant == "upright":
        with Image.open(data) as opened:
            from PIL.ImageOps import exif_transpose

            seen = exif_transpose(opened)
        white = np.asarray(seen.convert("L")) > 128
        size = seen.size
        rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
        box = [int(columns[0]), int(rows[0]), len(columns), len(rows)]
    listed = image(1, width=size[0], height=size[1])
    write_coco(tmp_path, [marked(1, box)], images=[listed], pictures={"1.jpg": data.getvalue()})
    told = lying >= 5  # the size tells which of the two is meant
    sample = read(tmp_path, orientation="auto" if told else meant)
    (instance,) = sample.scene.instances
    bright = np.asarray(sample.target().convert("L")) > 128
    assert (mask_of(instance) == bright).all()
    x1, y1, x2, y2 = instance.box
    assert bright[y1:y2, x1:x2].all()
    assert bright.sum() == (x2 - x1) * (y2 - y1)


def test_where_the_size_does_not_tell_it_is_as_the_file_has_it(tmp_path: Path) -> None:
    write_coco(tmp_path, [LEFT], pictures={"1.jpg": picture(lying=3)})
    sample = read(tmp_path)
    assert sample.scene.instances[0].box == (160 - 50, 120 - 70, 160 - 10, 120 - 20)
    ((kind, details),) = sample.oddities
    assert kind == "orientation that the size does not tell: taken as the file has it"
    assert details == "EXIF orientation 3"
    upright = read(tmp_path, orientation="upright")
    assert (upright.scene.instances[0].box, upright.oddities) == ((10, 20, 50, 70), [])


def test_a_picture_of_another_size_is_turned_down(tmp_path: Path) -> None:
    write_coco(tmp_path, [LEFT], pictures={"1.jpg": picture((320, 240))})
    sample = read(tmp_path)
    assert sample.reject is not None
    assert sample.reject.reason == "another size than its annotations"
    assert sample.reject.figures == {
        "width": 320,
        "height": 240,
        "annotated_width": 160,
        "annotated_height": 120,
    }
    write_coco(tmp_path, [LEFT], images=[{"id": 1, "file_name": "1.jpg"}])
    assert read(tmp_path).scene.instances[0].box == (10, 20, 50, 70)  # it has not been said


def test_annotations_are_scaled_as_their_picture_is(tmp_path: Path) -> None:
    write_coco(tmp_path, [LEFT, marked(9, [130.5, 99.2, 0.6, 0.5])])
    sample = read(tmp_path, max_side=80)
    assert (sample.scene.width, sample.scene.height) == (80, 60)
    first, second = sample.scene.instances
    assert (first.box, first.area) == ((5, 10, 25, 35), 500)
    assert (second.box, second.mask) == ((65, 49, 66, 50), None)  # too small for a mask


def test_masks_are_visible_parts(tmp_path: Path) -> None:
    write_coco(
        tmp_path, [LEFT, marked(2, [30, 40, 60, 60], category_id=7), marked(3, [12, 22, 3, 3])]
    )
    scene = read(tmp_path).scene
    masks = [mask_of(one) for one in scene.instances]
    assert np.sum(masks, axis=0).max() == 1
    assert [one.area for one in scene.instances] == [int(mask.sum()) for mask in masks]
    # The same object twice: one of the two cannot be seen.
    write_coco(tmp_path, [LEFT, {**LEFT, "id": 2}])
    sample = read(tmp_path)
    assert len(sample.scene.instances) == 1
    assert [kind for kind, _ in sample.oddities] == ["annotation that others hide wholly left out"]


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown category": ({"category_id": 4}, "annotation 9: there is no category 4"),
    "category as a list": ({"category_id": [1]}, "annotation 9: there is no category [1]"),
    "no box": ({"bbox": "x"}, "annotation 9: its bbox is x, not four numbers"),
    "box of three": ({"bbox": [1, 2, 3]}, "its bbox is [1, 2, 3], not four numbers"),
    "NaN": ({"bbox": [1, 2, float("nan"), 4]}, "its bbox has a number that is none"),
    "huge": ({"bbox": [1, 2, 10**400, 4]}, "its bbox has a number that is none, or endless"),
    "outside": (
        {"bbox": [500, 500, 10, 10], "segmentation": []},
        "it has no area in the picture",
    ),
    "negative": ({"bbox": [9, 9, -5, 5], "segmentation": []}, "it has no area in the picture"),
    "half a polygon without a box": (
        {"bbox": None, "segmentation": [[1, 2, 3]]},
        "annotation 9: a polygon needs three corners",
    ),
    "half a polygon and a box outside": (
        {"bbox": [500, 500, 10, 10], "segmentation": [[1, 2, 3]]},
        "annotation 9: a polygon needs three corners",
    ),
    "nothing": ({"bbox": None, "segmentation": []}, "it has neither bbox nor segmentation"),
}


@pytest.mark.parametrize("case", ODD)
def test_a_wrong_annotation_costs_itself_alone(tmp_path: Path, case: str) -> None:
    values, words = ODD[case]
    write_coco(tmp_path, [LEFT, {**marked(9, [90, 30, 30, 60]), **values}])
    sample = read(tmp_path)
    assert sample.reject is None
    assert [one.box for one in sample.scene.instances] == [(10, 20, 50, 70)]
    ((kind, details),) = sample.oddities
    assert kind == "annotation left out"
    assert words in details


BAD_MASKS: dict[str, tuple[Any, str]] = {
    "half a polygon": ([[1, 2, 3]], "a polygon needs three corners"),
    "polygon of NaN": (
        [[1, 2, float("inf"), 4, 5, 6]],
        "a polygon has a corner far outside",
    ),
    "run lengths of another size": (
        {"size": [120, 161], "counts": "abc"},
        "its mask is of [120, 161], its picture of [120, 160]",
    ),
    "damaged run lengths": (
        {"size": [120, 160], "counts": "zzzz"},
        "its run lengths do not describe a picture of that size",
    ),
    "run lengths of texts": (
        {"size": [120, 160], "counts": ["a"]},
        "its run lengths do not describe",
    ),
    "mask of another type": (
        "polygon",
        "its segmentation is neither polygons nor run lengths",
    ),
}


@pytest.mark.parametrize("case", BAD_MASKS)
def test_a_bad_mask_beside_a_good_box_costs_itself_alone(tmp_path: Path, case: str) -> None:
    segmentation, words = BAD_MASKS[case]
    write_coco(tmp_path, [LEFT, marked(9, [90, 30, 30, 60], segmentation=segmentation)])
    sample = read(tmp_path)
    first, second = sample.scene.instances
    assert (first.box, second.box) == ((10, 20, 50, 70), (90, 30, 120, 90))
    assert first.mask is not None
    assert second.mask is None
    ((kind, details),) = sample.oddities
    assert kind == "mask left out, the box is used"
    assert details.startswith("annotation 9: ")
    assert words in details


def test_ten_thousand_annotations_in_one_picture(tmp_path: Path) -> None:
    many = [
        {
            "id": n,
            "image_id": 1,
            "category_id": 1,
            "bbox": [n % 160, n // 160 % 120, 1, 1],
            "segmentation": [],
        }
        for n in range(10_000)
    ]
    write_coco(tmp_path, [*many, marked(20_000, [20, 20, 30, 30])])
    sample = read(tmp_path)
    assert len(sample.scene.instances) == 8
    assert max(one.area or 0 for one in sample.scene.instances) == 900
    assert sample.oddities == [("annotations beyond the largest ones left out", "9993 of 10001")]
    assert len({one.phrase for one in sample.scene.instances}) == 8


def test_crowds_and_strangers_are_counted(tmp_path: Path) -> None:
    crowd = {**marked(3, [0, 0, 9, 9]), "iscrowd": 1}
    stranger = {**marked(4, [0, 0, 9, 9]), "image_id": 77}
    images = [image(1), image(1), {"id": 2}, {"file_name": "x.jpg"}, image(5)]
    write_coco(tmp_path, [crowd, LEFT, stranger, {"id": 6}, 5], images=images)  # type: ignore[list-item]
    stage = stage_of(tmp_path)
    assert stage.count() == 2
    assert stage.missing(2) == 1
    assert [one.box for one in read(tmp_path).scene.instances] == [(10, 20, 50, 70)]
    text = "\n".join(stage.remarks())
    for words in (
        "annotated pictures that are not there, whose scenes are quarantined: 1 of 2 (5.jpg)",
        "instances.json: crowd regions, which show no single thing, left out: 1 (id 3)",
        "annotations of pictures that it does not name, left out: 1 (byte ",
        "annotations without image_id or category_id, left out: 1",
        "annotations that are no objects, left out: 1",
        "images whose id stands there twice, left out: 1 (id 1)",
        "images without file_name or coco_url, left out: 1 (id 2)",
        "images without an id, left out: 1",
    ):
        assert words in text


def test_strangers_are_named_picture_after_picture(tmp_path: Path) -> None:
    owners = [77, 88, 1, 77]
    marks = [{**marked(n, [0, 0, 9, 9]), "image_id": owner} for n, owner in enumerate(owners)]
    write_coco(tmp_path, marks)
    text = (tmp_path / "annotations" / "instances.json").read_text("utf-8")
    first, second, _, last = (text.index(f'{{"id": {n}, "image_id"') for n in range(len(owners)))
    remark = "instances.json: annotations of pictures that it does not name, left out: 3"
    stage = stage_of(tmp_path)
    assert stage.count() == 1
    assert stage.remarks() == [f"{remark} (byte {first}, byte {last}, byte {second})"]


def test_a_file_trimmed_to_a_picture_takes_no_longer_than_a_whole_one(tmp_path: Path) -> None:
    def seconds(name: str, images: list[int]) -> float:
        marks = [{"image_id": n, "category_id": 1} for n in range(60_000)]
        value = {"images": [image(n) for n in images], "annotations": marks}
        path = tmp_path / name
        path.write_text(json.dumps(value), encoding="utf-8")
        started = time.process_time()
        index = read_coco_file(path, key="source.annotations", wanted="category_id")
        assert index.left_out.total() == 60_000 - len(images)
        return time.process_time() - started

    assert seconds("trimmed", [1]) < 3 * seconds("whole", list(range(60_000)))


def test_too_few_annotations(tmp_path: Path) -> None:
    write_coco(tmp_path, [LEFT])
    sample = read(tmp_path, min_instances=2)
    assert sample.reject is not None
    assert (sample.reject.reason, sample.reject.figures["usable"]) == ("too few annotations", 1)


def test_lvis_names_pictures_by_their_address(tmp_path: Path) -> None:
    address = "http://images.cocodataset.org/train2017/000000391895.jpg"
    listed = {
        **image(1),
        "coco_url": address,
        "neg_category_ids": [3],
        "not_exhaustive_category_ids": [1],
    }
    del listed["file_name"]
    bow = marked(1, [10, 20, 40, 50], category_id=7)
    for name in ("000000391895.jpg", "train2017/000000391895.jpg"):
        folder = tmp_path / name.replace("/", "-")
        write_coco(folder, [bow], images=[listed], pictures={name: picture()})
        sample = read(folder)
        assert sample.scene.source.path == "train2017/000000391895.jpg"
        assert [one.phrase for one in sample.scene.instances] == ["bow"]


ELSEWHERE: dict[str, tuple[str, str, str]] = {
    "as it is named": ("train/1.jpg", "train/1.jpg", "train/1.jpg"),
    "without its folder": ("train/1.jpg", "1.jpg", "train/1.jpg"),
    "Windows": ("train\\1.jpg", "train/1.jpg", "train\\1.jpg"),
    "Windows, without its folder": ("C:\\data\\1.jpg", "1.jpg", "C:\\data\\1.jpg"),
    "a name with the sign": ("train\\1.jpg", "train\\1.jpg", "train\\1.jpg"),
    "absolute": ("/home/ana/images/1.jpg", "1.jpg", "1.jpg"),
    "above": ("../images/1.jpg", "1.jpg", "1.jpg"),
    "above, between": ("a/../../1.jpg", "1.jpg", "1.jpg"),
    "above, Windows": ("..\\images\\1.jpg", "1.jpg", "1.jpg"),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_names_of_other_systems_are_looked_for_below_the_folder(tmp_path: Path, case: str) -> None:
    name, place, path = ELSEWHERE[case]
    write_coco(tmp_path, [LEFT], images=[image(1, file_name=name)], pictures={place: picture()})
    sample = read(tmp_path)
    assert sample.scene.source.path == path
    assert [one.box for one in sample.scene.instances] == [(10, 20, 50, 70)]


def test_a_name_outside_opens_no_picture_there(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(picture())
    write_coco(
        tmp_path,
        [LEFT],
        images=[image(2), image(1, file_name="../1.jpg")],
        pictures={"2.jpg": picture()},
    )
    stage = stage_of(tmp_path)
    assert (stage.count(), stage.missing(2)) == (2, 1)
    with pytest.raises(CannotOpenError, match=r"cannot open 1\.jpg"):
        stage(stage.enumerate(1, 2))


@pytest.mark.parametrize("name", ["..", "a/..", "/", "a\\.."])
def test_names_that_lead_outside_are_turned_down(tmp_path: Path, name: str) -> None:
    write_coco(
        tmp_path,
        [LEFT],
        images=[image(2), image(1, file_name=name)],
        pictures={"1.jpg": picture(), "2.jpg": picture()},
    )
    stage = stage_of(tmp_path)
    sample = stage(stage.enumerate(1, 2))[0]
    assert sample.reject is not None
    assert sample.reject.reason == "name that leads outside"
    assert "leads out of the folder of the pictures" in str(sample.reject.figures["error"])


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "byte 0: { expected, and the file ends"),
    "cut off": (b'{"images": [{"id": 1, "file_na', "is no JSON: byte"),
    "cut off after an element": (b'{"images": [{"id": 1}', ", or ] expected, and the file ends"),
    "two values": (b'{"images": []} {}', "more than one value"),
    "results": (b'[{"image_id": 1, "score": 0.5}]', "is a list; what is read is an object"),
    "no annotations": (b'{"images": [{"id": 1, "file_name": "1.jpg"}]}', "has no annotation with"),
    "deep": (b'{"images": ' + b"[" * 100_000, "is no JSON"),
    "not UTF-8": (b'{"images": [{"id": 1, "file_name": "\xff"}]}', "is no JSON"),
    "a number without end": (b'{"annotations": [' + b"9" * 5000 + b"]}", "is no JSON"),
    "no object": (b"5", "{ expected"),
    "a key that is none": (b"{5: 6}", "a key that is no text"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_files_that_are_none_are_named(tmp_path: Path, case: str) -> None:
    data, words = HOSTILE[case]
    write_coco(tmp_path, [LEFT])
    path = tmp_path / "annotations" / "instances.json"
    path.write_bytes(data)
    with pytest.raises(ImigError) as caught:
        stage_of(tmp_path).count()
    assert words in caught.value.message
    assert str(path) in caught.value.message


def test_elements_come_one_by_one_with_their_places(tmp_path: Path) -> None:
    values = [{"text": "ü" * (n % 7), "n": n, "deep": {"a": [n] * 40}} for n in range(8000)]
    for text in (json.dumps, lambda one: json.dumps(one, ensure_ascii=False, indent=1)):
        path = tmp_path / "file.json"
        path.write_text("\ufeff" + text({"x": 3.5e3, "list": values, "end": []}), "utf-8")
        with path.open("rb") as file:
            arrays = JsonArrays(file, name="file")
            elements = list(arrays)
            assert [one.value for one in elements] == values
            for one in elements[::1000]:
                assert read_element(file, one.start, one.stop) == one.value


def test_a_file_that_changes_stops_the_build(tmp_path: Path) -> None:
    write_coco(tmp_path, [LEFT])
    stage = stage_of(tmp_path)
    before = stage.fingerprint()
    write_coco(tmp_path, [LEFT, RIGHT])
    with pytest.raises(SourceLostError, match="is not what it was"):
        stage(stage.enumerate(0, 1))
    assert stage_of(tmp_path).fingerprint() != before


def test_paths_that_are_wrong_are_named(tmp_path: Path) -> None:
    write_coco(tmp_path, [LEFT], pictures={})
    with pytest.raises(DataError, match="none of the 1 pictures"):
        stage_of(tmp_path).count()
    with pytest.raises(UsageError, match="cannot read"):
        stage_of(tmp_path, annotations=str(tmp_path / "no.json")).count()
    with pytest.raises(UsageError, match="has no annotation with caption"):
        stage_of(tmp_path, captions=str(tmp_path / "annotations" / "instances.json")).count()
    with pytest.raises(UsageError, match="is not a folder"):
        stage_of(tmp_path / "nowhere")


def test_ground_and_segment_have_nothing_to_do(tmp_path: Path) -> None:
    write_coco(tmp_path, [LEFT, RIGHT])
    recipe = tmp_path / "recipe.yaml"
    source = {
        "kind": "coco",
        "path": str(tmp_path / "images"),
        "annotations": str(tmp_path / "annotations" / "instances.json"),
    }
    blocks: dict[str, Any] = {"ground": {}, "segment": {}, "crop": {}, "filter": {}}
    recipe.write_text(json.dumps({"name": "annotated", "source": source, **blocks}))
    plan = make_plan(load_recipe(recipe, overrides=["models=tiny"]), output=tmp_path / "out")
    assert [(one.stage, one.reason) for one in plan.skipped] == [
        ("ground", "the source has boxes"),
        ("segment", "the source has masks"),
    ]
    assert plan.models == ()
    boxes = ["models=tiny", "source.masks=false"]
    plan = make_plan(load_recipe(recipe, overrides=boxes), output=tmp_path / "out")
    assert [one.stage for one in plan.skipped] == ["ground"]
    assert [one.key for one in plan.models] == ["segment.model"]
    # Without the stages' blocks it is all the same.
    recipe.write_text(json.dumps({"name": "annotated", "source": source, "crop": {}}))
    assert make_plan(load_recipe(recipe), output=tmp_path / "out").skipped == ()


def test_phrases_are_made_distinct() -> None:
    row = [(10 * n, 0, 10 * n + 5, 5) for n in range(23)]
    column = [(0, 10 * n, 5, 10 * n + 5) for n in range(3)]
    assert distinct_phrases(["dog", "cat"], row[:2]) == ["dog", "cat"]
    assert distinct_phrases(["dog", "Dog"], row[1::-1]) == ["right dog", "left Dog"]
    assert distinct_phrases(["dog"] * 3, column) == ["upper dog", "middle dog", "lower dog"]
    many = distinct_phrases(["dog"] * 23, row)
    assert many[0] == "first dog from the left"
    assert many[10:13] == [f"{n}th dog from the left" for n in (11, 12, 13)]
    assert many[20:] == [f"{n} dog from the left" for n in ("21st", "22nd", "23rd")]

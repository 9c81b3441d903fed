"""CVAT: what its files look like, and hostile ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from support.annotation_tools import CvatFile
from support.tiny_dataset import make_sample, seal, write_tiny_dataset

import imig
from imig.errors import DataError
from imig.interop.exporting import export_dataset
from imig.interop.importing import import_dataset
from imig.shards.tables import read_quarantine
from imig.shards.writer import write_tar

Element = ElementTree.Element


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two scenes, and beside it `out`."""
    folder = tmp_path_factory.mktemp("cvat")
    dataset = write_tiny_dataset(folder / "dataset", scenes=2)
    export_dataset(dataset, "cvat", output=folder / "out")
    return folder


def test_the_document_and_its_labels(exported: Path) -> None:
    root = ElementTree.parse(exported / "out" / "annotations.xml").getroot()
    assert (root.tag, root.findtext("version")) == ("annotations", "1.1")
    images = root.findall("image")
    assert [(one.get("id"), one.get("name")) for one in images] == [
        ("0", "basic-00000000.jpg"),
        ("1", "basic-00000001.jpg"),
    ]
    assert [one.tag for one in images[0]] == ["tag", "box", "mask", "box", "mask"]
    declared = {
        label.findtext("name"): [one.findtext("name") for one in label.iter("attribute")]
        for label in root.iter("label")
    }
    for image in images:
        for shape in image:
            given = [one.get("name") for one in shape]
            assert declared[shape.get("label")] == given
    specification = json.loads((exported / "out" / "labels.json").read_text())
    assert {
        one["name"]: [a["name"] for a in one["attributes"]] for one in specification
    } == declared


def test_what_else_may_be_drawn(exported: Path, tmp_path: Path) -> None:
    """Polygons become masks, turned boxes their bounds; the rest is counted."""
    file = CvatFile(exported / "out")
    image = file.picture("basic-00000001").image
    points = "48.00,51.00;58.00,51.00;58.00,61.00;48.00,61.00"
    ElementTree.SubElement(image, "polygon", label="cup", points=points)
    turned = {"xtl": "10", "ytl": "50", "xbr": "20", "ybr": "60", "rotation": "45"}
    ElementTree.SubElement(image, "box", {"label": "tray", **turned})
    ElementTree.SubElement(image, "polyline", label="cup", points=points)
    file.tree.write(tmp_path / "annotations.xml")
    done = import_dataset(
        tmp_path / "annotations.xml", "cvat", output=tmp_path / "back",
        overrides=[f"dataset={exported}/dataset"],
    )  # fmt: skip
    new = imig.Dataset(tmp_path / "back")["basic-00000001"].record.instances[3:]
    assert [(one.noun, one.box, one.area) for one in new] == [
        ("cup", (48, 51, 58, 61), 100),
        ("tray", (8, 48, 22, 62), None),
    ]
    assert done.losses.kinds.keys() == {"shapes of kind polyline", "rotations of boxes"}


TAG = """<tag label="imig scene"><attribute name="shapes">both</attribute></tag>"""


@pytest.mark.parametrize(("inside", "left"), [(f">{TAG}</image>", 0), ("></image>", 3), ("/>", 3)])
def test_a_picture_without_a_shape(exported: Path, tmp_path: Path, inside: str, left: int) -> None:
    """Under our mark all instances are gone, not the scene; else nobody has looked at it."""
    name, size = "nested/basic-00000001.jpg", 'width="96" height="64"'
    text = f'<annotations><version>1.1</version><image id="0" name="{name}" {size}{inside}'
    (tmp_path / "a.xml").write_text(f"{text}</annotations>")
    done = import_dataset(
        tmp_path / "a.xml", "cvat", output=tmp_path / "back",
        overrides=[f"dataset={exported}/dataset"],
    )  # fmt: skip
    back = imig.Dataset(tmp_path / "back")
    assert len(back["basic-00000001"].record.instances) == left
    assert len(back["basic-00000000"].record.instances) == 2
    corrections = back["basic-00000001"].record.corrections
    assert [one.by for one in corrections] == [None] * (3 - left)
    kind = "pictures with nothing on them, nor our mark: instances are as they were"
    assert (kind in done.losses.kinds) == (left == 3)


@pytest.mark.parametrize("is_edited", [False, True])
def test_texts_that_cvat_cuts_off_are_no_corrections(tmp_path: Path, is_edited: bool) -> None:
    """It keeps 4096 characters of an attribute, and says nothing."""
    folder, sample = tmp_path / "dataset", make_sample(1)
    sample.scene.caption = "A table. " * 1000
    sample.scene.instances[0].phrase = "red " * 2000 + "ball"
    shard = "basic-000000.tar"
    seal(folder, {shard: [sample]}, {shard: write_tar(folder / shard, [sample])})
    export_dataset(folder, "cvat", output=tmp_path / "out")
    file = CvatFile(tmp_path / "out")
    for value in file.picture("basic-00000001").image.iter("attribute"):
        value.text = (value.text or "")[:4096]
        if is_edited and value.get("name") in ("caption", "phrase"):
            value.text = "x" + value.text[1:]
    file.save()
    import_dataset(
        tmp_path / "out" / "annotations.xml", "cvat", output=tmp_path / "back",
        overrides=[f"dataset={folder}"],
    )  # fmt: skip
    scene = imig.Dataset(tmp_path / "back")["basic-00000001"].record
    assert (scene.caption == sample.scene.caption) == (not is_edited)
    assert (scene.instances[0].phrase == sample.scene.instances[0].phrase) == (not is_edited)
    assert bool(scene.corrections) == is_edited


def shape(image: Element, tag: str, **values: str) -> None:
    found = image.find(tag)
    assert found is not None
    found.attrib.update(values)


SCENE_FAULTS: dict[str, tuple[Callable[[Element], object], str]] = {
    "another size": (lambda image: image.set("width", "97"), "has 97x64 pixels in"),
    "a corner that is no number": (lambda i: shape(i, "box", xtl="a"), "xtl of a box is no number"),
    "a corner that is NaN": (lambda i: shape(i, "box", ybr="nan"), "ybr of a box is no number"),
    "a corner beyond floats": (lambda i: shape(i, "box", xbr="9e999"), "xbr of a box is no number"),
    "a mask outside": (lambda i: shape(i, "mask", left="90"), "lies outside of the picture"),
    "a mask before the edge": (lambda i: shape(i, "mask", top="-1"), "lies outside of the picture"),
    "a mask as large as the world": (
        lambda i: shape(i, "mask", width="99999999999"),
        "lies outside of the picture",
    ),
    "half a pixel": (lambda i: shape(i, "mask", left="1.5"), "left of a mask is no whole number"),
    "runs too short": (lambda i: shape(i, "mask", rle="1, 2"), "does not fill its"),
    "runs that go back": (lambda i: shape(i, "mask", rle="-5, 9"), "does not fill its"),
    "runs of text": (lambda i: shape(i, "mask", rle="a"), "no list of whole numbers"),
    "no runs": (lambda i: shape(i, "mask", rle=""), "no list of whole numbers"),
    "a polygon of two points": (
        lambda i: ElementTree.SubElement(i, "polygon", points="1,1;2,2"),
        "a polygon has 2 points",
    ),
    "a polygon of text": (
        lambda i: ElementTree.SubElement(i, "polygon", points="1,1;2"),
        "no pairs of numbers",
    ),
    "a polygon of infinity": (
        lambda i: ElementTree.SubElement(i, "polygon", points="1,1;2,inf;3,3"),
        "points that are no numbers",
    ),
}


@pytest.fixture(scope="module")
def of_faults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said of each fault: all in one dataset, a scene each."""
    folder = tmp_path_factory.mktemp("faults")
    dataset = write_tiny_dataset(folder / "dataset", scenes=len(SCENE_FAULTS) + 1)
    export_dataset(dataset, "cvat", output=folder / "out")
    file = CvatFile(folder / "out")
    for number, (plant, _) in enumerate(SCENE_FAULTS.values()):
        plant(file.picture(f"basic-{number:08d}").image)
    file.save()
    done = import_dataset(
        folder / "out" / "annotations.xml", "cvat", output=folder / "back",
        overrides=[f"dataset={dataset}"],
    )  # fmt: skip
    assert done.manifest.counts.written == 1
    return {one.id: one.error for one in read_quarantine(folder / "back")}


@pytest.mark.parametrize("fault", SCENE_FAULTS)
def test_a_fault_of_a_scene_is_named(of_faults: dict[str, str], fault: str) -> None:
    sample_id = f"basic-{list(SCENE_FAULTS).index(fault):08d}"
    assert of_faults[sample_id].startswith("DataError: ")
    assert SCENE_FAULTS[fault][1] in of_faults[sample_id]


LAUGHS = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>
<annotations><image id="0" name="&b;"/></annotations>"""
IMAGE = '<image id="0" name="basic-00000000.jpg"></image>'
FILE_FAULTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is no XML: no element found"),
    "cut off": (b"<annotations><image id='0' name='basic-0", "is no XML: unclosed token, line 1"),
    "of another kind": (b"<html/>", "begins with <html>"),
    "entities": (LAUGHS.encode(), "declares entities"),
    "another encoding": (
        '<?xml version="1.0" encoding="latin-1"?><annotations/>'.encode("latin-1"),
        "is in latin-1",
    ),
    "UTF-16": (
        '<?xml version="1.0" encoding="utf-16"?><annotations/>'.encode("utf-16"),
        "is in utf-16",
    ),
    "a picture twice": (f"<annotations>{IMAGE}{IMAGE}</annotations>".encode(), "is there twice"),
    "a picture without a name": (b"<annotations><image id='0'/></annotations>", "without a name"),
}


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_a_fault_of_the_file_is_named_before_anything_is_written(
    exported: Path, tmp_path: Path, fault: str
) -> None:
    data, words = FILE_FAULTS[fault]
    (tmp_path / "a.xml").write_bytes(data)
    with pytest.raises(DataError, match=words):
        import_dataset(
            tmp_path / "a.xml", "cvat", output=tmp_path / "back",
            overrides=[f"dataset={exported}/dataset"],
        )  # fmt: skip
    assert not (tmp_path / "back").exists()


def test_masks_are_the_same_to_the_bit(exported: Path) -> None:
    """Decoded by the rule alone: runs row by row through the box, what is outside first."""
    root = ElementTree.parse(exported / "out" / "annotations.xml").getroot()
    seen = 0
    for scene in imig.Dataset(exported / "dataset"):
        masks = root.findall(f"image[@name='{scene.record.id}.jpg']/mask")
        for one, drawn in zip(scene.instances, masks, strict=True):
            left, top, width, height = (
                int(drawn.attrib[key]) for key in ("left", "top", "width", "height")
            )
            pixels: list[bool] = []
            for number, run in enumerate(drawn.attrib["rle"].split(",")):
                pixels += [number % 2 == 1] * int(run)
            mask = np.zeros((64, 96), bool)
            mask[top : top + height, left : left + width] = np.reshape(pixels, (height, width))
            assert one.mask is not None
            assert np.array_equal(one.mask, mask)
            seen += 1
    assert seen == 5

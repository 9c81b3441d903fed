"""Imports whose source is changed, mended or lost in between, and names that are no text."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.coco_files import marked, write_coco
from support.imig100k_folders import write_published
from support.tiny_dataset import write_tiny_dataset

import imig
from imig.checks.dataset import validate_dataset
from imig.errors import DataError, SourceLostError, UsageError
from imig.interop.exporting import export_dataset
from imig.interop.format import ImportSettings
from imig.interop.formats import FORMATS
from imig.interop.importing import import_dataset
from imig.interop.pairs import PairsImporter
from imig.shards.tables import read_quarantine
from imig.stages.sources.coco import CocoPictures


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_tiny_dataset(tmp_path / "dataset", scenes=3)


def write_pairs(folder: Path, *, caption: str = "One.", scenes: int = 2) -> Path:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (32, 24), (90, 120, 80)).save(folder / "a.jpg")
    records = [{"target": "a.jpg", "caption": caption, "references": []}] * scenes
    (folder / "list.json").write_text(json.dumps(records))
    return folder / "list.json"


def _folders(folder: Path) -> Path:
    dataset = write_tiny_dataset(folder / "of", scenes=2)
    export_dataset(dataset, "folders", output=folder / "out")
    return folder / "out"


def _coco(folder: Path) -> Path:
    return write_coco(folder, [marked(1, [0, 0, 9, 9])])


def _yolo(folder: Path) -> Path:
    dataset = write_tiny_dataset(folder / "of", scenes=2)
    export_dataset(dataset, "yolo", output=folder / "out")
    return folder / "out"


STATING: dict[str, Callable[[Path], Path]] = {
    "folders": _folders,
    "coco": _coco,
    "yolo": _yolo,
    "pairs": write_pairs,
    "imig100k": write_published,
}
"""Formats of other people's files, and some of each without a licence."""


def test_every_format_of_strangers_can_state_a_licence() -> None:
    """The others correct a dataset, which says what its scenes are under."""
    readers = {one.name: one.importer for one in FORMATS if one.importer is not None}
    stating = {
        name for name, kind in readers.items() if issubclass(kind.settings_type, ImportSettings)
    }
    assert stating == STATING.keys()
    assert readers.keys() - stating == {"cvat", "label-studio"}


@pytest.mark.parametrize("form", STATING)
def test_a_licence_that_is_stated_for_an_import(tmp_path: Path, form: str) -> None:
    source = STATING[form](tmp_path / "source")
    silent = import_dataset(source, form, output=tmp_path / "silent").manifest
    assert "licence" not in silent.recipe["source"]  # its checksum stays what it was
    stated = import_dataset(
        source, form, output=tmp_path / "back", overrides=["licence=CC-BY-NC-4.0"]
    ).manifest
    assert stated.recipe["source"]["licence"] == "CC-BY-NC-4.0"
    scenes = list(imig.Dataset(tmp_path / "back"))
    assert {one.record.source.licence for one in scenes} == {"CC-BY-NC-4.0"}
    assert {one.record.source.licence for one in imig.Dataset(tmp_path / "silent")} == {None}
    with pytest.raises(UsageError, match="differs"):
        import_dataset(source, form, output=tmp_path / "back", overrides=["licence=MIT"])


@pytest.mark.parametrize(
    ("record", "licence"),
    [
        ({"license": "CC-BY-4.0"}, "CC-BY-4.0"),
        ({"Licence": " our \n own "}, "our own"),
        ({"license": {"name": "By", "url": "http://a.org/by"}}, "By http://a.org/by"),
        ({"license": "unknown"}, "MIT"),
        ({"license": 4}, "MIT"),
        ({}, "MIT"),
    ],
)
def test_what_a_record_says_of_its_licence_comes_first(
    tmp_path: Path, record: dict[str, Any], licence: str
) -> None:
    source = write_pairs(tmp_path / "source", scenes=1)
    (written,) = json.loads(source.read_text())
    source.write_text(json.dumps([{**written, **record}]))
    import_dataset(source, "pairs", output=tmp_path / "back", overrides=["licence=MIT"])
    (scene,) = imig.Dataset(tmp_path / "back")
    assert scene.record.source.licence == licence


def replace_bytes(path: Path, old: bytes, new: bytes) -> None:
    assert len(old) == len(new)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def _edit_mask(source: Path) -> None:
    mask = np.zeros((64, 96), np.uint8)
    mask[10:20, 30:50] = 255
    Image.fromarray(mask).save(source / "basic-00000001" / "mask00.png")


EDITS: dict[str, Callable[[Path], object]] = {
    "folders": _edit_mask,
    "yolo": lambda source: replace_bytes(
        source / "labels/train/basic-00000001.txt", b"\n0 ", b"\n9 "
    ),
    "coco": lambda source: replace_bytes(
        source / "annotations/instances.json", b"a red ball", b"a big ball"
    ),
    "imig100k": lambda source: replace_bytes(
        source / "imig-basic/filtered_prompts.json", b"a red ball", b"a big ball"
    ),
}


@pytest.mark.parametrize("kind", EDITS)
def test_a_source_that_was_edited_is_not_taken_for_imported(
    dataset: Path, tmp_path: Path, kind: str
) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    export_dataset(dataset, kind, output=out)
    import_dataset(out, kind, output=back)
    assert import_dataset(out, kind, output=back).finished_already
    EDITS[kind](out)
    with pytest.raises(UsageError, match="the source is not what it was"):
        import_dataset(out, kind, output=back)
    assert not import_dataset(out, kind, output=back, overwrite=True).finished_already


def test_a_list_that_was_edited_is_not_taken_for_imported(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs")
    import_dataset(path, "pairs", output=tmp_path / "back")
    write_pairs(tmp_path / "pairs", caption="Two.")
    with pytest.raises(UsageError, match="the source is not what it was"):
        import_dataset(path, "pairs", output=tmp_path / "back")


def test_a_source_that_changes_meanwhile_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_pairs(tmp_path / "pairs")
    read = PairsImporter.read

    def changed_while_read(self: PairsImporter, *arguments: Any) -> Any:
        write_pairs(tmp_path / "pairs", caption="Two.")
        return read(self, *arguments)

    monkeypatch.setattr(PairsImporter, "read", changed_while_read)
    with pytest.raises(DataError, match="has changed while it was read"):
        import_dataset(path, "pairs", output=tmp_path / "back")
    assert not (tmp_path / "back" / "dataset.json").exists()


def test_what_was_mended_is_read_by_the_same_command(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs")
    (path.parent / "a.jpg").rename(path.parent / "b.jpg")
    for _ in range(2):
        with pytest.raises(DataError, match="none of the 2 scenes"):
            import_dataset(path, "pairs", output=tmp_path / "back")
    (path.parent / "b.jpg").rename(path.parent / "a.jpg")
    assert import_dataset(path, "pairs", output=tmp_path / "back").manifest.counts.written == 2


def test_a_source_that_is_lost_quarantines_nothing(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    export_dataset(dataset, "coco", output=out)
    annotated = CocoPictures.annotated

    def touched(self: CocoPictures, number: int, *arguments: Any) -> Any:
        if number == 1:
            os.utime(out / "annotations/instances.json", ns=(1, 1))
        return annotated(self, number, *arguments)

    monkeypatch.setattr(CocoPictures, "annotated", touched)
    with pytest.raises(SourceLostError, match="is not what it was"):
        import_dataset(out, "coco", output=back)
    assert not (back / "dataset.json").exists()


def test_names_that_are_no_text(dataset: Path, tmp_path: Path) -> None:
    source, back = tmp_path / os.fsdecode(b"sc\xff"), tmp_path / "back"
    export_dataset(dataset, "folders", output=source)
    good, bad = os.fsdecode(b"g\xfe"), os.fsdecode(b"b\xfe")
    (source / "basic-00000000").rename(source / good)
    shutil.copytree(source / "basic-00000001", source / bad)
    (source / bad / "target.jpg").unlink()
    done = import_dataset(source, "folders", output=back)
    assert done.manifest.counts.written == 3
    assert done.manifest.name == "sc\\xff"
    (one,) = read_quarantine(back)
    assert one.path == "b\\xfe"
    assert validate_dataset(back).faults == []


@pytest.mark.parametrize("name", ["/", ".", "..", "a/..", "\ud800.jpg", "a\0b", "", "x" * 5000])
def test_pictures_of_a_hostile_name_are_quarantined(
    dataset: Path, tmp_path: Path, name: str
) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    export_dataset(dataset, "coco", output=out)
    path = out / "annotations/instances.json"
    known = json.loads(path.read_text())
    known["images"][1]["file_name"] = name
    path.write_text(json.dumps(known))
    done = import_dataset(out, "coco", output=back)
    assert done.manifest.counts.written == 2
    assert validate_dataset(back).faults == []


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _too_large(path: Path) -> None:
    Image.new("RGB", (97, 64)).save(path)


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("target.jpg", _cut_off, "target.jpg"),
        ("target.jpg", _too_large, "target.jpg is 97x64, stated is 96x64"),
        ("ref00.jpg", lambda path: path.write_bytes(b""), "ref00.jpg"),
        ("ref00.mask.png", lambda path: path.write_text("secret"), "ref00.mask.png"),
        ("features.npy", lambda path: path.write_text("secret"), "cannot be read as one float16"),
    ],
)
def test_damaged_files_of_an_exported_scene_are_quarantined(
    dataset: Path, tmp_path: Path, name: str, damage: Callable[[Path], object], words: str
) -> None:
    export_dataset(dataset, "folders", output=tmp_path / "out")
    damage(tmp_path / "out" / "basic-00000001" / name)
    import_dataset(tmp_path / "out", "folders", output=tmp_path / "back")
    (one,) = read_quarantine(tmp_path / "back")
    assert words in one.error
    assert validate_dataset(tmp_path / "back").faults == []


def test_an_edited_mask_takes_what_followed_from_it(dataset: Path, tmp_path: Path) -> None:
    export_dataset(dataset, "folders", output=tmp_path / "out")
    _edit_mask(tmp_path / "out")
    done = import_dataset(tmp_path / "out", "folders", output=tmp_path / "back")
    kind = "figures of instances whose masks were edited"
    assert done.losses.kinds[kind].first == ["basic-00000001: mask00.png"]
    assert validate_dataset(tmp_path / "back").faults == []
    scene = imig.Dataset(tmp_path / "back")["basic-00000001"].record
    before = imig.Dataset(dataset)["basic-00000001"].record
    one, other = scene.instances[0], scene.instances[1]
    assert (one.grounding, one.segmentation) == (None, None)
    assert one.scores.phrase_similarity is None
    assert other.grounding == before.instances[1].grounding
    assert scene.scores.coverage != before.scores.coverage

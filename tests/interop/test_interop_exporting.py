"""Exports that were cut off, and folders that somebody has been at in between."""

from __future__ import annotations

import json
import re
import resource
from pathlib import Path

import pytest
from support.derived_datasets import make_scene, write_dataset
from support.tiny_dataset import write_tiny_dataset

from imig import Dataset
from imig.derived.merge import merge_datasets
from imig.errors import DataError
from imig.interop.exporting import export_dataset
from imig.interop.format import ExportFolder
from imig.interop.formats import FORMATS
from imig.interop.importing import import_dataset
from imig.processes import each_in_processes


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_tiny_dataset(tmp_path / "dataset", scenes=4, scenes_per_shard=2)


def names_in(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not path.is_dir() and ".imig-export" not in path.parts
    }


@pytest.mark.parametrize(
    ("kind", "last"), [("folders", "basic-00000003/ref00.jpg"), ("yolo", "data.yaml")]
)
def test_overwrite_deletes_what_a_killed_export_has_left(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, last: str
) -> None:
    out = tmp_path / "out"
    write = ExportFolder.write

    def is_killed(self: ExportFolder, name: str, data: bytes) -> None:
        if name == last:
            raise KeyboardInterrupt
        write(self, name, data)

    monkeypatch.setattr(ExportFolder, "write", is_killed)
    with pytest.raises(KeyboardInterrupt):
        export_dataset(dataset, kind, output=out)
    monkeypatch.undo()
    left = names_in(out)
    assert any("00000003" in name for name in left)
    (out / ".imig-export" / "files" / "basic-000000.tar.jsonl").open("ab").write(b'"half a li')
    half = out / next(iter(left))
    half.with_name(f".{half.name}.tmp-0").write_bytes(b"half")
    export_dataset(
        write_tiny_dataset(tmp_path / "other", scenes=1), "coco", output=out, overwrite=True
    )
    assert names_in(out) == {
        "images/basic-00000000.jpg",
        "annotations/instances.json",
        "annotations/captions.json",
    }


def test_overwrite_deletes_nothing_elsewhere(dataset: Path, tmp_path: Path) -> None:
    """Whatever a folder of others says that an export has written."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    export_dataset(dataset, "coco", output=out)
    (out / "images").rename(elsewhere)
    (out / "images").symlink_to(elsewhere)
    (tmp_path / "thesis.txt").write_text("mine")
    names = ["../thesis.txt", str(tmp_path / "thesis.txt"), "images/../../thesis.txt", 3, "a\0b"]
    with (out / ".imig-export" / "files" / "whole.jsonl").open("a") as file:
        file.writelines(f"{json.dumps(one)}\n" for one in names)
    before = names_in(elsewhere)
    export_dataset(dataset, "folders", output=out, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    assert names_in(elsewhere) == before
    assert not (out / "annotations").exists()


@pytest.mark.parametrize("name", ["images/train/basic-00000002.jpg", "data.yaml"])
def test_a_file_that_was_removed_is_written_again(dataset: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    first = export_dataset(dataset, "yolo", output=out)
    data = (out / name).read_bytes()
    assert export_dataset(dataset, "yolo", output=out).finished_already
    (out / name).unlink()
    again = export_dataset(dataset, "yolo", output=out)
    assert (again.finished_already, again.scenes, again.files) == (False, 4, first.files)
    assert (out / name).read_bytes() == data
    export_dataset(dataset, "coco", output=out, overwrite=True)
    assert not (out / "labels").exists()


def test_a_damaged_record_can_be_overwritten(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_dataset(dataset, "coco", output=out)
    (out / ".imig-export" / "finished.json").write_bytes(b"\xff{")
    (out / ".imig-export" / "shards" / "basic-000000.tar.json").write_bytes(b"")
    assert export_dataset(dataset, "coco", output=out, overwrite=True).scenes == 4


def test_a_damaged_scene_is_left_out_with_all_its_files(dataset: Path, tmp_path: Path) -> None:
    """Also those that were written before the damage was met."""
    shard, out = dataset / "basic-000000.tar", tmp_path / "out"
    data = shard.read_bytes()
    shard.write_bytes(re.sub(rb'("counts": ?").', rb"\1~", data, count=1))
    done = export_dataset(dataset, "folders", output=out)
    assert (done.scenes, list(done.damaged)) == (3, ["basic-00000000"])
    assert "run lengths" in done.damaged["basic-00000000"]
    assert not [one for one in names_in(out) if one.startswith("basic-00000000")]
    again = export_dataset(dataset, "folders", output=out)
    assert (again.finished_already, again.damaged) == (True, done.damaged)
    export_dataset(dataset, "coco", output=out, overwrite=True)
    assert not list(out.glob("basic-*/*"))


def test_where_every_scene_is_damaged_nothing_is_exported(dataset: Path, tmp_path: Path) -> None:
    for shard in dataset.glob("*.tar"):
        shard.write_bytes(shard.read_bytes().replace(b'"schema_version"', b'"schema_versiom"'))
    with pytest.raises(DataError, match="none of the 4 scenes"):
        export_dataset(dataset, "coco", output=tmp_path / "out")
    assert names_in(tmp_path / "out") == set()


class Counted:
    """A function that says how often it was unpickled in its process."""

    times = 0

    def __call__(self, item: int) -> int:
        return Counted.times

    def __setstate__(self, state: object) -> None:
        Counted.times += 1

    def __reduce__(self) -> tuple[object, ...]:
        return Counted, (), {"some": "state"}


def test_a_function_goes_to_a_process_once() -> None:
    """It carries the names of all scenes, and a shard would cost more the more there are."""
    results = dict(each_in_processes(Counted(), range(20), workers=2, what="count"))
    assert set(results.values()) == {1}
    assert results.keys() == set(range(20))


def test_a_killed_run_leaves_nothing_half_written_in_the_records(
    dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_dataset(dataset, "folders", output=out)
    whole = {path for path in out.rglob("*") if not path.is_dir()}
    state = out / ".imig-export"
    (state / "finished.json").unlink()  # killed just before it was there
    for half in (
        state / ".finished.json.tmp-47",
        state / "shards" / ".basic-000000.tar.json.tmp-1",
    ):
        half.write_bytes(b"{")
    export_dataset(dataset, "folders", output=out)
    assert {path for path in out.rglob("*") if not path.is_dir()} == whole


def test_a_file_whose_name_was_noted_by_half_is_not_written(tmp_path: Path) -> None:
    """A disk that fills up within a line takes what fits, and says nothing."""
    # so many that their list is longer than any of them
    dataset = write_tiny_dataset(tmp_path / "dataset", scenes=40, scenes_per_shard=40)
    out, whole = tmp_path / "out", tmp_path / "whole"
    export_dataset(dataset, "folders", output=whole)
    noted = (whole / ".imig-export" / "files" / "basic-000000.tar.jsonl").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (noted - 5, hard))
    try:
        with pytest.raises(DataError, match="No space left"):
            export_dataset(dataset, "folders", output=out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(names_in(out)) == len(names_in(whole)) - 1
    export_dataset(dataset, "folders", output=out)
    assert names_in(out) == names_in(whole)


@pytest.mark.parametrize("form", [one.name for one in FORMATS if one.exporter is not None])
@pytest.mark.parametrize("stated", ["nowhere", "scene", "declared", "card"])
def test_a_licence_is_carried_or_its_loss_is_said(tmp_path: Path, form: str, stated: str) -> None:
    samples = [make_scene(number) for number in range(2)]
    if stated == "scene":
        samples[1].scene.source.licence = "MIT"
    parts = [write_dataset(tmp_path / str(n), [one]) for n, one in enumerate(samples)]
    dataset = tmp_path / "dataset"
    merge_datasets(parts, output=dataset, licence="MIT" if stated == "declared" else None)
    if stated == "card":
        card = dataset / "README.md"
        card.write_text(card.read_text().replace("license: unknown", "license: mit"))
    done = export_dataset(dataset, form, output=tmp_path / "out")
    lost = done.losses.kinds.get("licences")
    if form not in ("coco", "folders"):
        assert (lost.count if lost else 0) == {"nowhere": 0, "scene": 1}.get(stated, 2)
        return
    assert lost is None
    import_dataset(tmp_path / "out", form, output=tmp_path / "back")
    found = [one.record.source.licence for one in Dataset(tmp_path / "back")]
    declared = "mit" if stated == "card" else "MIT"
    assert found == {"nowhere": [None, None], "scene": [None, "MIT"]}.get(stated, [declared] * 2)

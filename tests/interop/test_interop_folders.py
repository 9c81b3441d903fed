"""Plain folders: out and in again, made by hand, damaged; and what holds for all formats."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.tiny_dataset import make_sample, seal, write_tiny_dataset

import imig
from imig.checks.dataset import validate_dataset
from imig.cli import main
from imig.contextgen.layout_file import load_layout
from imig.errors import DataError, ImigError, UsageError
from imig.interop.exporting import export_dataset
from imig.interop.format import ExportFolder
from imig.interop.ids import keys_to_ids
from imig.interop.importing import import_dataset
from imig.shards.features import FEATURES_MEMBER, features_to_bytes
from imig.shards.tables import read_quarantine
from imig.shards.writer import write_tar


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_tiny_dataset(tmp_path / "dataset", scenes=5, scenes_per_shard=2)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_went_out_comes_back(dataset: Path, tmp_path: Path, workers: int) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    done = export_dataset(dataset, "folders", output=out, workers=workers)
    assert (done.scenes, done.losses.kinds) == (5, {})
    files = [path for path in out.rglob("*") if path.is_file() and ".imig-export" not in str(path)]
    assert len(files) == done.files
    for name in ("basic-00000000", "basic-00000004"):
        layout = load_layout(out / name / "layout.json").layout
        assert layout.references
    again = import_dataset(out, "folders", output=back, workers=workers, scenes_per_shard=2)
    assert again.losses.kinds == {}
    assert bytes_of(back) == bytes_of(dataset)
    assert validate_dataset(back).faults == []
    # The same commands again find their work done.
    assert export_dataset(dataset, "folders", output=out).finished_already
    assert import_dataset(out, "folders", output=back, scenes_per_shard=2).finished_already


def test_formats_need_no_torch() -> None:
    """A worker process that imports it takes seconds to begin."""
    code = "import sys, imig.interop.formats, imig.interop.importing; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_features_are_carried(tmp_path: Path) -> None:
    folder, sample = tmp_path / "dataset", make_sample(0)
    sample.files[FEATURES_MEMBER] = features_to_bytes(np.arange(1, 9))
    shard = "basic-000000.tar"
    seal(folder, {shard: [sample]}, {shard: write_tar(folder / shard, [sample])})
    export_dataset(folder, "folders", output=tmp_path / "out")
    import_dataset(tmp_path / "out", "folders", output=tmp_path / "back")
    assert bytes_of(tmp_path / "back") == bytes_of(folder)


def test_an_edited_mask_comes_back_with_its_box(dataset: Path, tmp_path: Path) -> None:
    export_dataset(dataset, "folders", output=tmp_path / "out")
    path = tmp_path / "out" / "basic-00000001" / "mask00.png"
    mask = np.zeros((64, 96), np.uint8)
    mask[10:20, 30:50] = 255
    Image.fromarray(mask).save(path)
    import_dataset(tmp_path / "out", "folders", output=tmp_path / "back")
    one = imig.Dataset(tmp_path / "back")["basic-00000001"].instances[0]
    assert (one.record.box, one.record.area) == ((30, 10, 50, 20), 200)
    assert one.mask is not None
    assert one.mask.sum() == 200


def hand_made(folder: Path) -> Path:
    """A scene as a person would lay it down: PNG target, a cut-out, and a JPEG with a mask."""
    scene = folder / "two things, Ünïcode"
    scene.mkdir(parents=True)
    Image.new("RGB", (96, 64), (90, 120, 80)).save(scene / "target.png")
    cut_out = Image.new("RGBA", (20, 30), (200, 0, 0, 0))
    cut_out.paste((200, 0, 0, 255), (5, 5, 15, 25))
    cut_out.save(scene / "duck.png")
    Image.new("RGB", (24, 24), (0, 0, 200)).save(scene / "cup.jpg")
    Image.new("L", (24, 24), 255).save(scene / "cup-mask.png")
    layout = {
        "caption": "A red duck beside a blue cup.",
        "width": 96,
        "height": 64,
        "units": "relative",
        "references": [
            {"name": "red duck", "image": "duck.png", "box": [0, 0, 0.5, 1]},
            {
                "name": "blue cup",
                "image": "cup.jpg",
                "mask": "cup-mask.png",
                "box": [0.5, 0.25, 1, 1],
            },
        ],
    }
    (scene / "layout.json").write_text(json.dumps(layout))
    return scene


def test_folders_made_by_hand(tmp_path: Path) -> None:
    scene = hand_made(tmp_path / "mine")
    cup = (scene / "cup.jpg").read_bytes()
    back = imig.import_dataset(tmp_path / "mine", "folders", output=tmp_path / "back")
    assert validate_dataset(tmp_path / "back").faults == []
    (sample_id,) = back.ids
    assert sample_id.startswith("two-things-n-code-")
    view = back[sample_id]
    assert view.record.caption == "A red duck beside a blue cup."
    assert [(one.phrase, one.noun, one.box) for one in view.record.instances] == [
        ("red duck", "duck", (0, 0, 48, 64)),
        ("blue cup", "cup", (48, 16, 96, 64)),
    ]
    assert view.instances[0].references[0].record.subject_box == (5, 5, 15, 25)
    assert view.files["ref01.jpg"] == cup  # never encoded again
    assert view.record.source.path == "two things, Ünïcode/target.png"


def _change(place: str, /, **values: object) -> Callable[[Path], None]:
    def change(scene: Path) -> None:
        layout = json.loads((scene / "layout.json").read_text())
        (layout["references"][int(place)] if place else layout).update(values)
        (scene / "layout.json").write_text(json.dumps(layout))

    return change


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no target": (lambda scene: (scene / "target.png").unlink(), "has no target"),
    "no picture": (lambda scene: (scene / "duck.png").unlink(), "cannot read"),
    "truncated": (
        lambda scene: (scene / "duck.png").write_bytes((scene / "duck.png").read_bytes()[:40]),
        "duck.png",
    ),
    "no JSON": (lambda scene: (scene / "layout.json").write_text("{"), "layout.json:1"),
    "unknown key": (_change("", capton="x"), "capton"),
    "another size": (_change("", width=97), "has 96x64 pixels, layout.json says 97x64"),
    "no name": (_change("0", name=" "), "references.0 has no name"),
    "no mask": (_change("1", mask=None), "has no transparency"),
    "mask of another size": (_change("1", mask="target.png"), "has 96x64 pixels, its picture"),
    "outside": (_change("0", image="../../secret.png"), "lies outside of"),
    "empty": (
        lambda scene: Image.new("RGBA", (9, 9)).save(scene / "duck.png"),
        "shows no subject",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_read_is_named_and_the_others_go_on(tmp_path: Path, fault: str) -> None:
    plant, words = FAULTS[fault]
    good, bad = hand_made(tmp_path / "a"), hand_made(tmp_path / "b")
    plant(bad)
    source = tmp_path / "mine"
    source.mkdir()
    good.rename(source / "good")
    bad.rename(source / "bad")
    done = import_dataset(source, "folders", output=tmp_path / "back")
    assert done.manifest.counts.model_dump() == {
        "input": 2,
        "written": 1,
        "rejected": 0,
        "quarantined": 1,
    }
    (one,) = read_quarantine(tmp_path / "back")
    assert one.path == "bad"
    assert words in one.error
    assert validate_dataset(tmp_path / "back").faults == []
    (source / "good" / "target.png").unlink()
    with pytest.raises(DataError, match="none of the 2 scenes"):
        import_dataset(source, "folders", output=tmp_path / "nothing")


def test_a_run_that_was_cut_off_goes_on(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    write = ExportFolder.write
    works_again: list[bool] = []

    def fails_late(self: ExportFolder, name: str, data: bytes) -> None:
        if name == "basic-00000003/target.jpg" and not works_again:
            raise KeyboardInterrupt
        write(self, name, data)

    monkeypatch.setattr(ExportFolder, "write", fails_late)
    with pytest.raises(KeyboardInterrupt):
        export_dataset(dataset, "folders", output=out)
    first = (out / "basic-00000000" / "target.jpg").stat().st_mtime_ns
    works_again.append(True)
    assert export_dataset(dataset, "folders", output=out).scenes == 5
    assert (out / "basic-00000000" / "target.jpg").stat().st_mtime_ns == first
    monkeypatch.setattr("imig.interop.importing.write_record", _raise_at_second())
    with pytest.raises(KeyboardInterrupt):
        import_dataset(out, "folders", output=back, scenes_per_shard=2)
    monkeypatch.undo()
    first = (back / "basic-000000.tar").stat().st_mtime_ns
    import_dataset(out, "folders", output=back, scenes_per_shard=2)
    assert (back / "basic-000000.tar").stat().st_mtime_ns == first
    assert bytes_of(back) == bytes_of(dataset)


def _raise_at_second() -> Callable[..., None]:
    from imig.output.record import write_record

    calls: list[Path] = []

    def write(path: Path, record: object) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write_record(path, record)  # type: ignore[arg-type]

    return write


WRONG_CALLS: dict[str, tuple[list[str], str]] = {
    "no such format": (["export", "foldrs", "dataset"], "there is no format 'foldrs'"),
    "no such dataset": (["export", "folders", "nowhere"], "there is no dataset folder"),
    "no such source": (["import", "folders", "nowhere"], "there is no "),
    "a file as source": (["import", "folders", "dataset/dataset.json"], "is no folder"),
    "no scenes in it": (["import", "folders", "empty"], "has no folder with a layout.json"),
    "an unknown setting": (["export", "folders", "dataset", "--set", "a=1"], "--set a: "),
    "no setting": (["export", "folders", "dataset", "--set", "a"], "not of the form key=value"),
    "something else there": (["export", "folders", "dataset"], "holds other things"),
    "no exporter": (["export", "json:JSONDecoder", "dataset"], "is no Exporter"),
}


@pytest.mark.parametrize("case", WRONG_CALLS)
def test_wrong_calls_are_named(
    dataset: Path,
    tmp_path: Path,
    case: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments, words = WRONG_CALLS[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "new").mkdir()
    if case == "something else there":
        (tmp_path / "new" / "thesis.txt").write_text("mine")
    assert main([*arguments, "--output", "new"]) == 2
    assert words in capsys.readouterr().err
    assert sorted(one.name for one in (tmp_path / "new").iterdir()) in ([], ["thesis.txt"])


def test_overwrite_deletes_what_the_export_wrote_and_nothing_else(
    dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_dataset(dataset, "folders", output=out)
    (out / "basic-00000000" / "notes.txt").write_text("mine")
    other = write_tiny_dataset(tmp_path / "other", scenes=1)
    with pytest.raises(UsageError, match="its dataset differ"):
        export_dataset(other, "folders", output=out)
    export_dataset(other, "folders", output=out, overwrite=True)
    assert sorted(one.name for one in out.iterdir()) == [".imig-export", "basic-00000000"]
    assert (out / "basic-00000000" / "notes.txt").read_text() == "mine"


def test_no_file_is_written_outside(tmp_path: Path) -> None:
    folder = ExportFolder(tmp_path / "out")
    for name in ("../x", "/x", "a//b", "a/../../b", "", "."):
        with pytest.raises(DataError, match="is no name of a file"):
            folder.write(name, b"")
    assert not (tmp_path / "x").exists()


def test_a_damaged_record_is_named(dataset: Path, tmp_path: Path) -> None:
    export_dataset(dataset, "folders", output=tmp_path / "out")
    (tmp_path / "out" / ".imig-export" / "finished.json").write_bytes(b"\xff{")
    with pytest.raises(ImigError, match=r"finished\.json cannot be read"):
        export_dataset(dataset, "folders", output=tmp_path / "out")


@pytest.mark.parametrize(
    ("key", "sample_id"),
    [
        ("basic-00000001", "basic-00000001"),
        ("a.b c", "a-b-c-c76ac6d0"),
        ("日本", "scene-a7cd5f1f"),
        ("x" * 80, "x" * 50 + "-"),
        ("_x", "x-"),
    ],
)
def test_ids_come_of_keys_alone(key: str, sample_id: str) -> None:
    found = keys_to_ids([key])[key]
    assert found.startswith(sample_id[:-8])
    assert len(found) <= 64
    assert keys_to_ids([key, "other"])[key] == found


def test_import_and_export_say_what_they_did(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["formats"]) == 0
    assert "folders  (import, export)" in capsys.readouterr().out
    out, back = str(tmp_path / "out"), str(tmp_path / "back")
    assert main(["export", "folders", str(dataset), "--output", out]) == 0
    assert "wrote 5 scenes in " in capsys.readouterr().out
    assert main(["export", "folders", str(dataset), "--output", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["finished_already"] is True
    assert main(["import", "folders", out, "--output", back, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["written"] == 5
    assert main(["import", "folders", out, "--output", back]) == 0
    assert "is finished already: 5 scenes" in capsys.readouterr().out

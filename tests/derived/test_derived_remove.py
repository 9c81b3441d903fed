"""`imig remove`: samples leave a dataset in its own folder, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from support.derived_datasets import QUARANTINED, REJECTS, contents, make_scene, write_dataset

from imig import Dataset
from imig.checks.dataset import validate_dataset
from imig.cli import main
from imig.derived.remove import plan_removal, remove_samples
from imig.derived.selection import select_identity, select_ids, select_source
from imig.derived.split import split_dataset
from imig.errors import DataError, UsageError
from imig.schema import Reject
from imig.shards import atomic
from imig.shards.funnel import REPORT_JSON, FunnelRow, Oddity
from imig.shards.manifest import MANIFEST_NAME
from imig.shards.tables import read_rejects

NEAR = Reject(
    id="basic-90000002", stage="duplicates", reason="duplicate scene", path="x/copy.jpg",
    figures={"of": "basic-00000004", "hash_distance": 1},
)  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine scenes in three shards; one of the rejects is a near copy of the fifth."""
    return write_dataset(
        tmp_path_factory.mktemp("remove") / "shards",
        [make_scene(n) for n in range(9)],
        rejects=[*REJECTS, NEAR],
    )


@pytest.fixture
def shards(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "shards"))


@pytest.fixture(autouse=True)
def _no_previews(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing them takes longer than all else."""
    monkeypatch.setattr("imig.output.seal.MAX_PICTURES", 0)


def list_ids(tmp_path: Path, *ids: str) -> Path:
    path = tmp_path / "takedown.txt"
    path.write_text("# asked for on Monday\n\n" + "\n".join(ids) + "\n")
    return path


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_source_goes_and_only_its_shard_is_written(original: Path, shards: Path) -> None:
    picture = Dataset(shards)["basic-00000004"].files["target.jpg"]
    before = contents(shards)
    result = remove_samples(shards, select_source("basic/4.*"))
    (one,) = result.datasets
    assert (one.scenes, one.left, one.rejects, one.shards) == (1, 8, 0, ["basic-000001.tar"])
    after = contents(shards)
    same = {name for name in before if name.endswith(".tar") and after[name] == before[name]}
    assert same == {"basic-000000.tar", "basic-000002.tar"}
    assert validate_dataset(shards).faults == []
    dataset, old = Dataset(shards), Dataset(original)
    assert dataset.ids == [one for one in old.ids if one != "basic-00000004"]
    for scene_id in dataset.ids:
        assert dict(dataset[scene_id].files) == dict(old[scene_id].files)
    assert (dataset.manifest.counts.written, dataset.manifest.counts.input) == (8, 11)
    assert picture not in everything_in(shards)
    assert not (shards / ".build").exists()


def test_the_record_has_counts_and_no_ids(shards: Path, tmp_path: Path) -> None:
    ids = list_ids(tmp_path, "basic-00000004", "basic-90000000", "basic-77777777")
    remove_samples(shards, select_ids(ids))
    record = Dataset(shards).manifest.derived[-1]
    assert record.operation == "remove"
    assert record.settings == {
        "by": "ids", "scenes": 1, "rejected": 1, "quarantined": 0, "shards": 1,
    }  # fmt: skip
    left = everything_in(shards)
    assert b"basic-00000004" not in left
    assert b"basic-90000000" not in left
    (near,) = read_rejects(shards)
    assert near.figures == {"hash_distance": 1}  # and not of whom


def test_rejects_and_quarantine_go_by_their_path(tmp_path: Path) -> None:
    rejects = [one.model_copy(update={"path": "jane/1.jpg"}) for one in REJECTS]
    lost = [one.model_copy(update={"path": "jane/2.jpg"}) for one in QUARANTINED]
    folder = write_dataset(tmp_path / "shards", [make_scene(0)], rejects=rejects, quarantined=lost)
    shard = (folder / "basic-000000.tar").read_bytes()
    (one,) = remove_samples(folder, select_source("jane/*")).datasets
    assert (one.scenes, one.rejects, one.quarantined, one.shards) == (0, 1, 1, [])
    assert (folder / "basic-000000.tar").read_bytes() == shard
    assert validate_dataset(folder).faults == []
    assert b"jane/" not in everything_in(folder)


def test_an_identity_goes_from_every_scene(tmp_path: Path) -> None:
    samples = [make_scene(n) for n in range(4)]
    for number in (1, 3):
        samples[number].scene.instances[0].identity_id = "jane"
    folder = write_dataset(tmp_path / "shards", samples, per_shard=2)
    (one,) = remove_samples(folder, select_identity("jane")).datasets
    assert (one.scenes, one.left) == (2, 2)
    assert Dataset(folder).ids == ["basic-00000000", "basic-00000002"]
    assert validate_dataset(folder).faults == []


def test_a_shard_of_which_nothing_stays_goes(shards: Path, tmp_path: Path) -> None:
    gone = list_ids(tmp_path, *(f"basic-{n:08d}" for n in range(3)))
    remove_samples(shards, select_ids(gone))
    assert not (shards / "basic-000000.tar").exists()
    assert [one.name for one in Dataset(shards).manifest.shards] == [
        "basic-000001.tar", "basic-000002.tar",
    ]  # fmt: skip
    assert validate_dataset(shards).faults == []


def test_the_report_names_nothing_that_went(shards: Path) -> None:
    report = json.loads((shards / REPORT_JSON).read_text())
    odd = Oddity(2, ["basic-00000004: basic/4.jpg: odd", "basic-00000005: basic/5.jpg: odd"])
    row = FunnelRow("source", 9, 0, 0, 9, 1.0, {}, {"odd": odd})
    report["stages"] = [{**vars(row), "oddities": {"odd": vars(odd)}}]
    report["source"] = ["not there: basic/4.jpg", "of other kinds: 3"]
    (shards / REPORT_JSON).write_text(json.dumps(report))
    remove_samples(shards, select_source("basic/4.jpg"))
    after = json.loads((shards / REPORT_JSON).read_text())
    assert after["stages"][0]["oddities"]["odd"] == {
        "count": 2, "first": ["basic-00000005: basic/5.jpg: odd"],
    }  # fmt: skip
    assert after["source"] == ["of other kinds: 3"]
    assert b"basic/4.jpg" not in everything_in(shards)


def test_the_pictures_of_the_card_go_too(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imig.output.seal.MAX_PICTURES", 4)
    assert (shards / "pictures" / "basic-00000000.jpg").exists()
    remove_samples(shards, select_source("basic/0.jpg"))
    assert sorted(one.stem for one in (shards / "pictures").iterdir()) == [
        f"basic-{n:08d}" for n in range(1, 5)
    ]


def test_both_sides_of_a_split(shards: Path, tmp_path: Path) -> None:
    split_dataset(shards, validation=0.3, output=tmp_path / "split")
    result = remove_samples(tmp_path / "split", select_source("basic/[0-7].jpg"))
    assert sum(one.scenes for one in result.datasets) == 8
    card = (tmp_path / "split" / "README.md").read_text()
    counts = [len(Dataset(tmp_path / "split" / side)) for side in ("train", "validation")]
    assert f"| samples | {counts[0]} | {counts[1]} |" in card
    for side in ("train", "validation"):
        assert validate_dataset(tmp_path / "split" / side).faults == []


@pytest.mark.parametrize("pattern", ["basic/44.jpg", "basic", "BASIC/4.jpg", "*.png"])
def test_nothing_meant_changes_nothing(shards: Path, pattern: str) -> None:
    before = contents(shards)
    with pytest.raises(UsageError, match="nothing was changed") as caught:
        remove_samples(shards, select_source(pattern))
    assert "basic/0.jpg" in caught.value.cure
    with pytest.raises(UsageError, match="nothing was changed"):
        plan_removal(shards, select_source(pattern))
    assert contents(shards) == before


def test_all_of_it_goes_only_when_that_is_said(shards: Path) -> None:
    before = contents(shards)
    with pytest.raises(UsageError, match="all 9 scenes") as caught:
        remove_samples(shards, select_source("*"))
    assert "--everything" in caught.value.cure
    assert contents(shards) == before
    remove_samples(shards, select_source("*"), everything=True)
    assert len(Dataset(shards)) == 0
    assert list(shards.glob("*.tar")) == []
    assert Dataset(shards).manifest.derived[-1].settings["scenes"] == 9


def test_a_link_would_keep_the_bytes(shards: Path, tmp_path: Path) -> None:
    shutil.move(shards / "basic-000001.tar", tmp_path / "blob")
    (shards / "basic-000001.tar").symlink_to(tmp_path / "blob")
    with pytest.raises(UsageError, match="is a link"):
        remove_samples(shards, select_source("basic/4.jpg"))


def test_dry_run_changes_nothing(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(shards)
    assert main(["remove", str(shards), "--source", "basic/4.jpg", "--dry-run", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["datasets"][0]["scenes"] == 1
    assert contents(shards) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", " "], "--source is empty"),
        (["--ids", "none.txt"], "cannot read"),
        (["--ids", "empty.txt"], "names no sample"),
    ],
    ids=["blank pattern", "no such list", "empty list"],
)
def test_what_cannot_be_meant(
    shards: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(shards.parent)
    Path("empty.txt").write_text("# nothing\n")
    assert main(["remove", str(shards), *arguments]) == 2
    assert message in capsys.readouterr().err


class _Killed(BaseException):
    """As a kill: no `except Exception` sees it."""


def _fail_at(
    monkeypatch: pytest.MonkeyPatch, number: int, error: Callable[[], BaseException]
) -> list[str]:
    """Let the call of that number that changes the disk fail; gives a list of the calls made."""
    calls: list[str] = []

    def counted(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **keywords: object) -> object:
            calls.append(name)
            if len(calls) - 1 == number:
                raise error()
            return real(*arguments, **keywords)

        return call

    monkeypatch.setattr(atomic, "_flush", counted("flush", atomic._flush))
    monkeypatch.setattr(os, "replace", counted("replace", os.replace))
    monkeypatch.setattr(shutil, "rmtree", counted("rmtree", shutil.rmtree))
    return calls


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(_Killed, id="killed"),
        pytest.param(lambda: OSError(28, "No space"), id="full disk", marks=pytest.mark.long),
    ],
)
def test_cut_off_at_every_step_and_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException]
) -> None:
    """A shard that goes, one that is written anew, one that stays; after each cut a second run."""
    source = [make_scene(n, things=2) for n in range(5)]
    original = write_dataset(tmp_path / "original", source, per_shard=2, rejects=[*REJECTS, NEAR])
    selection = select_ids(list_ids(tmp_path, *(f"basic-{n:08d}" for n in range(3))))
    expected = Path(shutil.copytree(original, tmp_path / "expected"))
    remove_samples(expected, selection)
    after = contents(expected)
    states: list[str] = []
    for number in range(1000):
        folder = Path(shutil.copytree(original, tmp_path / f"{number}"))
        with monkeypatch.context() as patch:
            calls = _fail_at(patch, number, error)
            with suppress(_Killed, OSError, DataError):
                remove_samples(folder, selection)
            if len(calls) <= number:
                break
        states.append(_state(folder))
        with suppress(UsageError):  # it was finished before it was cut off
            remove_samples(folder, selection)
        assert contents(folder) == after
        assert not (folder / ".build").exists()
    assert list(dict.fromkeys(states)) == ["old", "none", "new"]


def _state(folder: Path) -> str:
    """What a reader finds: a dataset that is whole, and which, or none."""
    if not (folder / MANIFEST_NAME).exists():
        with pytest.raises(UsageError) as caught:
            Dataset(folder)
        assert "imig remove" in caught.value.cure
        return "none"
    # Only that `.build` is still there is a fault.
    assert {one.kind for one in validate_dataset(folder).faults} <= {"unfinished-build"}
    return "old" if len(Dataset(folder)) == 5 else "new"


def test_other_work_is_refused_while_one_is_cut_off(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object, **keywords: object) -> None:
        raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr("imig.derived.remove.write_side_files", killed)
        with pytest.raises(_Killed):
            remove_samples(shards, select_source("basic/4.jpg"))
    with pytest.raises(UsageError, match="was cut off"):
        plan_removal(shards, select_source("basic/5.jpg"))
    # The next one ends it, and then does its own.
    result = remove_samples(shards, select_source("basic/5.jpg"))
    assert result.ended == [shards]
    assert len(Dataset(shards)) == 7
    assert [one.operation for one in Dataset(shards).manifest.derived] == ["remove", "remove"]
    assert validate_dataset(shards).faults == []


@pytest.mark.parametrize("fault", ["cut shard", "no picture", "no record"])
def test_what_is_damaged_elsewhere_stops_it_before_it_begins(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Behind the point without return it would stop every run, and leave no dataset."""
    monkeypatch.setattr("imig.output.seal.MAX_PICTURES", 4)
    path = shards / "basic-000000.tar"
    data = path.read_bytes()
    if fault == "cut shard":
        damaged = data[: len(data) // 2 // 512 * 512 + 100]
    else:
        mark = b"\xff\xd8\xff" if fault == "no picture" else b'"schema_version"'
        damaged = data.replace(mark, bytes(len(mark)))
    path.write_bytes(damaged)
    before = contents(shards)
    with pytest.raises(DataError, match=r"basic-000000\.tar"):
        remove_samples(shards, select_ids(list_ids(tmp_path, "basic-00000007")))
    assert contents(shards) == before
    assert "basic-00000007" in Dataset(shards)
    if fault == "no picture":  # the damaged ones can go
        gone = list_ids(tmp_path, *(f"basic-{n:08d}" for n in (0, 1, 2, 7)))
        remove_samples(shards, select_ids(gone))
        assert len(Dataset(shards)) == 5


def test_a_half_written_preview_goes_too(shards: Path) -> None:
    (shards / "pictures" / ".basic-00000004.jpg.tmp-77").write_bytes(b"half of a picture")
    remove_samples(shards, select_source("basic/4.jpg"))
    assert b"half of a picture" not in everything_in(shards)


def test_the_licence_that_the_owner_has_stated_stays(shards: Path, tmp_path: Path) -> None:
    split_dataset(shards, output=tmp_path / "split", validation=0.3)
    cards = [tmp_path / "split" / side / "README.md" for side in ("", "train", "validation")]
    for card in cards:
        card.write_text(card.read_text().replace("license: unknown", "license: cc-by-4.0"))
    scene_id = Dataset(tmp_path / "split" / "train").ids[0]
    remove_samples(tmp_path / "split", select_ids(list_ids(tmp_path, scene_id)))
    assert all("license: cc-by-4.0" in card.read_text() for card in cards)


def test_the_card_above_a_split_is_renewed_by_the_next_run(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imig.output.seal.MAX_PICTURES", 4)
    split_dataset(shards, output=tmp_path / "split", validation=0.3)
    whole = Path(shutil.copytree(tmp_path / "split", tmp_path / "whole"))
    scene_id = Dataset(whole / "train").ids[0]
    selection = select_ids(list_ids(tmp_path, scene_id))
    remove_samples(whole, selection)

    def killed(*arguments: object, **keywords: object) -> None:
        raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr("imig.derived.remove.write_split_card", killed)
        with pytest.raises(_Killed):
            remove_samples(tmp_path / "split", selection)
    card = tmp_path / "split" / "README.md"
    assert scene_id in card.read_text()  # among its pictures
    with pytest.raises(UsageError, match="nothing in"):
        remove_samples(tmp_path / "split", selection)
    assert card.read_text() == (whole / "README.md").read_text()
    assert scene_id not in card.read_text()


def test_ids_of_a_removal_that_is_ended_are_not_called_missing(
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def killed(*arguments: object, **keywords: object) -> None:
        raise _Killed

    ids = list_ids(tmp_path, "basic-00000004")
    with monkeypatch.context() as patch:
        patch.setattr("imig.derived.remove.write_side_files", killed)
        with pytest.raises(_Killed):
            remove_samples(shards, select_ids(ids))
    assert main(["remove", str(shards), "--ids", str(ids)]) == 0
    said = capsys.readouterr().out
    assert "is finished now" in said
    assert "not there" not in said

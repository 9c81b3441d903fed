"""Every command that reads a dataset reads it from a store that fails, and writes one there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.derived_datasets import contents, make_scene, write_dataset
from support.object_store import Request, StoreServer, every, filesystem

from imig.checks.dataset import validate_dataset
from imig.cli import main
from imig.derived.merge import merge_datasets
from imig.derived.refilter import refilter_dataset
from imig.derived.split import split_dataset
from imig.errors import DataError, SourceLostError
from imig.sample import Sample
from imig.shards.dataset import Dataset
from imig.stages.sources.base import SourceError
from imig.stages.sources.config import WebdatasetSource
from imig.stages.sources.webdataset import WebdatasetPictures
from imig.stores import patience
from imig.stores.path import StorePath

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST_WAIT", 0.02)


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    here = tmp_path_factory.mktemp("parents")
    return [
        write_dataset(here / subset, [make_scene(number, subset=subset) for number in range(6)])
        for subset in ("basic", "complex")
    ]


@pytest.fixture
def merged(store: StoreServer, folder: StorePath, parents: list[Path], tmp_path: Path) -> Path:
    """The folder of a dataset of which a copy is in the store."""
    merge_datasets(parents, output=tmp_path / "merged")
    filesystem().put(str(tmp_path / "merged"), folder.address, recursive=True)
    store.done.clear()
    store.fault = every(4)
    return tmp_path / "merged"


def copy_of(folder: StorePath, here: Path) -> Path:
    filesystem().get(folder.address, str(here), recursive=True)
    return here


def test_validate_finds_what_it_finds_on_the_disk(
    store: StoreServer, folder: StorePath, merged: Path
) -> None:
    assert validate_dataset(folder.address, workers=2).faults == []
    store.fault = lambda _: None
    shard = folder / "basic-000000.tar"
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 0xFF
    shard.write_bytes(bytes(data))
    (merged / shard.name).write_bytes(bytes(data))
    (folder / "index.parquet").unlink()
    (merged / "index.parquet").unlink()
    (folder / "stray.bin").write_bytes(b"x")
    (merged / "stray.bin").write_bytes(b"x")
    there, here = validate_dataset(folder.address), validate_dataset(merged)
    assert here.faults
    assert [(one.kind, one.shard, one.sample) for one in there.faults] == [
        (one.kind, one.shard, one.sample) for one in here.faults
    ]
    assert not any("/tmp" in one.message for one in there.faults)


def test_one_scene_is_read_by_its_range(
    store: StoreServer, folder: StorePath, merged: Path
) -> None:
    dataset = Dataset(folder.address)
    store.done.clear()
    files = dataset.read_files("complex-00000003")
    assert files == Dataset(merged).read_files("complex-00000003")
    tars = [request for request, _ in store.done if ".tar" in request.path]
    assert tars
    assert all(_header(one, "range") for one in tars if one.method == "GET")


def _header(request: Request, name: str) -> str | None:
    return {key.lower(): value for key, value in request.headers.items()}.get(name)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["validate", "SHARDS"], id="validate"),
        pytest.param(["stats", "SHARDS"], id="stats"),
        pytest.param(
            ["preview", "basic-00000002", "--shards", "SHARDS", "--out", "OUT.png"], id="preview"
        ),
        pytest.param(["diff", "SHARDS", "LOCAL"], id="diff"),
        pytest.param(["refilter", "SHARDS", "--report"], id="refilter-report"),
        pytest.param(["export", "coco", "SHARDS", "--output", "OUT"], id="export"),
    ],
)
def test_commands_read_through_faults(
    words: list[str],
    store: StoreServer,
    folder: StorePath,
    merged: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {
        "SHARDS": folder.address,
        "LOCAL": str(merged),
        "OUT": str(tmp_path / "out"),
        "OUT.png": str(tmp_path / "out.png"),
    }
    code = main([places.get(word, word) for word in words])
    assert code == 0, capsys.readouterr().err
    assert store.faults()


def test_what_is_made_of_datasets_has_the_same_bytes_there(
    store: StoreServer, folder: StorePath, merged: Path, tmp_path: Path
) -> None:
    made = StorePath(f"{folder.parent}/made")
    settings = ["filter.dino=0.75"]
    refilter_dataset(merged, overrides=settings, output=tmp_path / "refiltered")
    split_dataset(merged, validation=0.3, output=tmp_path / "split")
    refilter_dataset(folder.address, overrides=settings, output=made / "refiltered")
    split_dataset(folder.address, validation=0.3, output=made / "split")
    faults = store.faults()
    store.fault = lambda _: None
    copy = copy_of(made, tmp_path / "made")
    for name in ("refiltered", "split"):
        assert contents(copy / name) == contents(tmp_path / name)
    assert faults
    assert not list(copy.rglob(".build"))


def test_a_shard_that_is_not_the_one_of_the_manifest_is_no_parent(
    store: StoreServer, folder: StorePath, merged: Path, tmp_path: Path
) -> None:
    store.fault = lambda request: (
        "corrupt" if request.method == "GET" and "complex-000000.tar" in request.path else None
    )
    with pytest.raises(DataError, match=r"complex-000000\.tar is damaged: its SHA-256"):
        split_dataset(folder.address, validation=0.3, output=tmp_path / "split")


def test_a_build_reads_tars_of_the_store(
    store: StoreServer, folder: StorePath, merged: Path
) -> None:
    def samples(path: str) -> list[Sample]:
        kind = WebdatasetPictures(WebdatasetSource(kind="webdataset", path=path))
        found = []
        for number in range(kind.count()):
            sample = make_scene(number)
            kind.fill(sample, number)
            found.append(sample)
        return found

    there, here = samples(folder.address), samples(str(merged))
    assert [one.files for one in there] == [one.files for one in here]
    assert [one.scene for one in there] == [one.scene for one in here]
    assert store.faults()
    assert len(samples(f"{folder.address}/complex-{{000000..000001}}.tar")) == 6
    with pytest.raises(SourceError, match=r"1 of 2 missing"):
        samples(f"{folder.address}/complex-{{000001..000002}}.tar")


def test_a_tar_that_is_written_anew_during_a_build_ends_it(
    store: StoreServer, folder: StorePath, merged: Path
) -> None:
    kind = WebdatasetPictures(WebdatasetSource(kind="webdataset", path=folder.address))
    assert kind.can_open(0)
    shard = folder / "basic-000000.tar"
    shard.write_bytes(shard.read_bytes() + bytes(10240))
    assert not kind.can_open(0)
    with pytest.raises(SourceLostError, match="is not what it was when the build began"):
        kind.fill(make_scene(0), 0)


def test_removal_in_place_is_refused_with_a_cure(
    capsys: pytest.CaptureFixture[str], store: StoreServer, folder: StorePath
) -> None:
    assert main(["remove", folder.address, "--source", "x"]) == 2
    assert "copy the dataset to this machine" in capsys.readouterr().err


def test_an_import_goes_to_the_store(
    store: StoreServer, folder: StorePath, parents: list[Path], tmp_path: Path
) -> None:
    exported, here = tmp_path / "exported", tmp_path / "here"
    assert main(["export", "folders", str(parents[0]), "--output", str(exported)]) == 0
    assert main(["import", "folders", str(exported), "--output", str(here)]) == 0
    store.fault = every(4)
    assert main(["import", "folders", str(exported), "--output", folder.address]) == 0
    store.fault = lambda _: None
    assert contents(copy_of(folder, tmp_path / "there")) == contents(here)
    manifest = json.loads((folder / "dataset.json").read_bytes())
    assert manifest["counts"]["written"] == 6

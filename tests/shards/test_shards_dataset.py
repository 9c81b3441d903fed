"""`imig.Dataset`: random access, iteration, lazy pictures, errors for people."""

import pickle
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import yaml
from fsspec.implementations.memory import MemoryFileSystem
from support.tiny_dataset import make_samples, write_tiny_dataset

import imig
from imig.cli import main
from imig.errors import DataError, UsageError
from imig.layout.masks import rle_to_mask
from imig.shards.card import size_category, write_card
from imig.shards.index import (
    INDEX_NAME,
    index_schema,
    read_index_table,
    row_to_plain,
    shard_to_rows,
    write_index,
)
from imig.shards.writer import write_tar
from imig.stores import patience


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("data") / "shards")


def test_iteration_gives_every_scene_in_the_order_of_the_index(folder: Path) -> None:
    dataset = imig.Dataset(folder)
    samples = make_samples(6)
    assert len(dataset) == 6
    assert [scene.record for scene in dataset] == [sample.scene for sample in samples]
    assert [scene.files for scene in dataset] == [sample.files for sample in samples]
    assert dataset.index["id"].tolist() == [sample.scene.id for sample in samples]


def test_access_by_id_and_by_position(folder: Path) -> None:
    dataset = imig.Dataset(folder)
    assert dataset["basic-00000004"].id == "basic-00000004"
    assert dataset[4].record == dataset[-2].record == dataset["basic-00000004"].record
    assert "basic-00000004" in dataset
    with pytest.raises(IndexError):
        dataset[6]


def test_pictures_and_masks(folder: Path) -> None:
    scene = imig.Dataset(folder)["basic-00000001"]
    assert (scene.target.mode, scene.target.size) == ("RGB", (scene.width, scene.height))
    assert scene.target is scene.target
    instance = scene.instances[0]
    assert instance.mask is not None
    assert instance.mask.dtype == np.bool_
    assert instance.record.mask is not None
    assert np.array_equal(instance.mask, rle_to_mask(instance.record.mask))
    assert instance.phrase == "a red ball"
    crop, face = instance.references
    assert crop.mask is not None
    assert (crop.image.mode, crop.mask.shape) == ("RGB", crop.image.size[::-1])
    assert face.image.mode == "RGBA"
    assert face.mask is not None
    assert 0 < face.mask.sum() < face.mask.size
    assert crop.record.image == "ref00.jpg"
    with pytest.raises(AttributeError):
        _ = scene.colour


def _mean_grey(dataset: imig.Dataset, sample_id: str) -> float:
    return float(np.asarray(dataset[sample_id].target).mean())


def test_processes_and_threads_read_the_same(folder: Path) -> None:
    dataset = imig.Dataset(folder)
    alone = [_mean_grey(dataset, sample_id) for sample_id in dataset.ids]
    for pool in (ThreadPoolExecutor(4), ProcessPoolExecutor(2)):
        with pool:
            read = list(pool.map(_mean_grey, [dataset] * len(dataset), dataset.ids))
        assert read == alone


def test_views_can_be_pickled(folder: Path) -> None:
    scene = pickle.loads(pickle.dumps(imig.Dataset(folder)[0]))
    assert scene.target.size == (96, 64)
    assert scene.to_sample().files == scene.files


def test_no_folder_and_no_dataset_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no dataset folder"):
        imig.Dataset(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"no dataset\.json"):
        imig.Dataset(tmp_path)


def test_an_unknown_id_is_answered_with_near_ones(folder: Path) -> None:
    with pytest.raises(UsageError) as raised:
        imig.Dataset(folder)["basic-0000003"]
    assert "basic-00000003" in raised.value.cure


def test_damage_is_a_data_error_that_names_the_place(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "shards")
    shard = folder / "basic-000001.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:30000])
    dataset = imig.Dataset(folder)
    with pytest.raises(DataError, match=r"basic-00000005 .* cut off"):
        dataset["basic-00000005"]
    shard.write_bytes(whole[512:])
    with pytest.raises(DataError, match=r"damaged at byte|not where the index says"):
        dataset["basic-00000004"]
    shard.unlink()
    with pytest.raises(DataError, match=r"basic-000001\.tar"):
        dataset["basic-00000004"]
    assert dataset["basic-00000000"].id == "basic-00000000"
    (folder / INDEX_NAME).write_bytes(b"PAR1 but not really")
    with pytest.raises(DataError, match="cannot read the index"):
        imig.Dataset(folder)


def test_the_index_of_an_empty_dataset_has_all_columns(tmp_path: Path) -> None:
    write_index(tmp_path / INDEX_NAME, [])
    table = read_index_table(tmp_path / INDEX_NAME)
    assert table.column_names == index_schema().names
    assert not table.num_rows


def test_index_rows_can_be_made_from_a_shard(folder: Path) -> None:
    rows = [
        row for name in ("000000", "000001") for row in shard_to_rows(folder / f"basic-{name}.tar")
    ]
    pd.testing.assert_frame_equal(
        pd.DataFrame(map(row_to_plain, rows))[
            ["id", "offset", "size", "caption", "min_phrase_similarity"]
        ],
        imig.Dataset(folder).index[["id", "offset", "size", "caption", "min_phrase_similarity"]],
    )
    first = make_samples(1)[0].scene
    assert rows[0].scores["mean_phrase_similarity"] == pytest.approx(0.35)
    assert rows[0].phrases == [one.phrase for one in first.instances]


def test_the_card_has_front_matter_that_hubs_read(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "shards")
    (folder / "pictures").mkdir()
    picture = folder / "pictures" / "a.png"
    imig.Dataset(folder)[0].target.save(picture)
    rows = [row for path in sorted(folder.glob("*.tar")) for row in shard_to_rows(path)]
    write_card(folder, imig.Dataset(folder).manifest, rows, pictures=[picture])
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    loaded = yaml.safe_load(front)
    assert loaded["configs"] == [
        {"config_name": "basic", "data_files": [{"split": "train", "path": "basic-*.tar"}]}
    ]
    assert (loaded["license"], loaded["size_categories"]) == ("unknown", ["n<1K"])
    assert "| instances per scene | 2: 3, 3: 3 |" in text
    assert 'src="pictures/a.png"' in text
    assert (size_category(1000), size_category(10**8)) == ("1K<n<10K", "n>10M")


def test_a_store_that_is_down_is_not_called_no_dataset(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for limit in ("FIRST_SECONDS", "PATIENCE_SECONDS"):
        monkeypatch.setattr(patience, limit, 0.01)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert main(["stats", f"ftp://127.0.0.1:{port}/shards"]) == 1
    error, cure = capsys.readouterr().err.splitlines()
    assert error == (
        f"error: cannot reach ftp://127.0.0.1:{port}/shards: [Errno 111] Connection refused"
    )
    assert "is the store up" in cure
    with pytest.raises(UsageError, match="is not a dataset: it has no dataset"):
        imig.Dataset("memory://nothing-is-here")
    with monkeypatch.context() as refusing:
        refusing.setattr(MemoryFileSystem, "cat_file", Mock(side_effect=PermissionError("403")))
        with pytest.raises(UsageError, match="the store refuses memory://nothing-is-here/dataset"):
            imig.Dataset("memory://nothing-is-here")
    for failure in (TimeoutError(), ConnectionResetError("reset")):
        monkeypatch.setattr(MemoryFileSystem, "cat_file", Mock(side_effect=failure))
        with pytest.raises(DataError, match="cannot reach memory://nothing-is-here/dataset") as it:
            imig.Dataset("memory://nothing-is-here")
        assert (str(failure) or "TimeoutError") in it.value.message


@pytest.fixture
def remote(folder: Path) -> Iterator[str]:
    """The dataset, in a store."""
    store = MemoryFileSystem()
    store.put(str(folder), "/walked", recursive=True)
    yield "memory://walked"
    store.rm("/walked", recursive=True)


def test_shards_are_walked_with_their_stored_bytes(folder: Path, remote: str) -> None:
    samples = make_samples(6)
    for dataset in (imig.Dataset(folder), imig.Dataset(remote)):
        walked = list(dataset.walk_shards())
        assert [scene for scene, _ in walked] == [sample.scene for sample in samples]
        assert [files for _, files in walked] == [sample.files for sample in samples]
        targets = [files for _, files in dataset.walk_shards(only={"target.jpg", "none"})]
        assert targets == [{"target.jpg": one.files["target.jpg"]} for one in samples]
        assert len(list(dataset.walk_shards(only=(), subset="basic"))) == 6
        assert list(dataset.walk_shards(subset="complex")) == []
        assert dataset.subsets == ["basic"] * 6
        assert (dataset.rejects(), dataset.quarantined()) == ([], [])


def test_a_walk_finds_what_iteration_does_not_see(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "d")
    shard = tmp_path / "d" / "basic-000001.tar"
    whole = shard.read_bytes()
    dataset = imig.Dataset(tmp_path / "d")
    extra = make_samples(7)[6]
    write_tar(shard, [*[view.to_sample() for view in dataset][-3:], extra])
    assert len(list(dataset)) == 6
    with pytest.raises(DataError, match=r"00000006 in .* of the subset basic, .* says None"):
        list(dataset.walk_shards())
    write_tar(shard, [view.to_sample() for view in imig.Dataset(folder)][-3:-1])
    with pytest.raises(DataError, match=r"000001\.tar has 2 samples, dataset\.json says 3"):
        list(dataset.walk_shards())
    shard.write_bytes(whole + b"more")
    with pytest.raises(DataError, match=r"basic-000001\.tar is damaged at byte"):
        list(dataset.walk_shards())


def test_the_copy_of_a_remote_shard_is_called_by_its_address(remote: str) -> None:
    store, name = MemoryFileSystem(), "/walked/basic-000001.tar"
    dataset = imig.Dataset(remote)
    store.pipe_file(name, store.cat_file(name)[:9000])
    with pytest.raises(DataError, match=r"^memory://walked/basic-000001\.tar is damaged"):
        list(dataset.walk_shards())
    store.rm_file(name)
    with pytest.raises(DataError, match=r"cannot read memory://walked/basic-000001\.tar"):
        list(dataset.walk_shards())


def test_a_dataset_of_a_newer_imig_is_no_damaged_one(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "d")
    path = tmp_path / "d" / "dataset.json"
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 9'))
    with pytest.raises(UsageError, match="has schema version 9, this imig knows") as caught:
        imig.Dataset(tmp_path / "d")
    assert "newer" in caught.value.cure

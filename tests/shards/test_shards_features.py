"""The optional feature of a sample: written, checked, carried; and the index's newer columns."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.tiny_dataset import LATER_COLUMNS, make_sample, seal, write_tiny_dataset

from imig import Dataset
from imig.checks.dataset import validate_dataset
from imig.errors import DataError
from imig.shards.features import FEATURES_MEMBER, features_from_bytes, features_to_bytes
from imig.shards.index import INDEX_NAME
from imig.shards.manifest import MANIFEST_NAME, file_sha256, read_manifest, write_manifest
from imig.shards.writer import write_tar
from imig.stages.base import BuildContext
from imig.stages.instances import keep_instances
from imig.stages.write import WriteConfig, WriteStage


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def write_with_features(folder: Path, data: bytes) -> Path:
    sample = make_sample(0)
    sample.files[FEATURES_MEMBER] = data
    shard = "basic-000000.tar"
    seal(folder, {shard: [sample]}, {shard: write_tar(folder / shard, [sample])})
    return folder


def test_a_feature_comes_back_normalised() -> None:
    data = features_to_bytes(np.array([3.0, 0.0, -4.0]))
    assert features_from_bytes(data, place="here").tolist() == pytest.approx([0.6, 0, -0.8], 1e-3)
    assert features_to_bytes(np.array([30, 0, -40])) == data


@pytest.mark.parametrize("value", [np.zeros(4), np.array([np.nan, 1]), np.ones((2, 2))])
def test_what_is_no_direction_is_refused(value: np.ndarray) -> None:
    with pytest.raises(ValueError, match="direction"):
        features_to_bytes(value)


def test_a_dataset_with_features_is_valid_and_reads(tmp_path: Path) -> None:
    data = features_to_bytes(np.arange(1, 9))
    folder = write_with_features(tmp_path / "d", data)
    assert validate_dataset(folder).faults == []
    assert Dataset(folder)["basic-00000000"].files[FEATURES_MEMBER] == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy(np.array([1, 0], dtype=np.float32)), "<f4"),
        (npy(np.ones((1, 1), dtype=np.float16)), r"\(1, 1\)"),
        (npy(np.array([1, 1], dtype=np.float16)), "norm 1.414"),
        (npy(np.array([np.nan, 1], dtype=np.float16)), "norm nan"),
        (npy(np.array([{}], dtype=object)), "cannot be read"),
        (b"\x93NUMPY", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_a_bad_feature_is_a_fault(tmp_path: Path, data: bytes, message: str) -> None:
    [fault] = validate_dataset(write_with_features(tmp_path / "d", data)).faults
    assert (fault.kind, fault.sample) == ("bad-features", "basic-00000000")
    with pytest.raises(DataError, match=message):
        features_from_bytes(data, place="here")


def test_features_survive_stages() -> None:
    sample = make_sample(0)
    sample.files[FEATURES_MEMBER] = data = features_to_bytes(np.arange(1, 9))
    keep_instances(sample, [0, 2])
    WriteStage(WriteConfig(), BuildContext(recipe_seed=0, subset="basic"))([sample])
    assert sample.files[FEATURES_MEMBER] == data


def test_an_index_without_the_newer_columns_reads_and_is_valid(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "d")
    table = pq.read_table(folder / INDEX_NAME).drop_columns(LATER_COLUMNS)
    pq.write_table(table, folder / INDEX_NAME)
    manifest = read_manifest(folder / MANIFEST_NAME)
    update = {"index_sha256": file_sha256(folder / INDEX_NAME)}
    write_manifest(folder / MANIFEST_NAME, manifest.model_copy(update=update))
    assert validate_dataset(folder).faults == []
    assert Dataset(folder).index["min_dino_similarity"].isna().all()

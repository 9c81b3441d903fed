"""A pickle in the place of any file of a dataset, a recipe or an adapter is never loaded."""

from __future__ import annotations

import gzip
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.archives import read_all, source_of, write_tar
from support.derived_datasets import make_scene, write_dataset
from support.encoded_samples import ENCODING, encode
from support.fuzzing.watch import WATCH
from support.pickles import WRITERS, Mark, plain_pickle
from support.tiny_dataset import seal

import imig
from imig.checks.dataset import validate_dataset
from imig.contextgen.adapter_file import find_adapter_file, open_adapter
from imig.contextgen.layout_file import load_layout
from imig.errors import ImigError
from imig.recipe.file import load_recipe
from imig.sample import Sample
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.features import FEATURES_MEMBER, features_from_bytes
from imig.shards.funnel import read_funnel
from imig.shards.tables import read_quarantine, read_rejects
from imig.shards.writer import write_tar as write_samples


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sample = make_scene(0, subset="complex", things=1)
    encode(sample)
    return write_dataset(tmp_path_factory.mktemp("pickles") / "d", [sample], encoding=ENCODING)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "it ran"


def _everything(folder: Path) -> list[Callable[[], object]]:
    return [
        lambda: [scene.target for scene in imig.Dataset(folder)],
        lambda: imig.Dataset(folder).index,
        lambda: list(imig.Dataset(folder).walk_shards()),
        lambda: imig.Dataset(folder).subsets,
        lambda: read_funnel(folder / "report.json"),
        lambda: read_rejects(folder),
        lambda: read_quarantine(folder),
    ]


FILES = (
    "dataset.json", "index.parquet", "complex-000000.tar", "report.json", "rejects.parquet",
    "quarantine.parquet",
)  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_files_of_a_dataset(
    good: Path, tmp_path: Path, mark: Path, write: Callable[[Path, Path], Path], name: str
) -> None:
    folder = tmp_path / "d"
    shutil.copytree(good, folder)
    write(folder / name, mark)
    errors = []
    with WATCH.on() as seen:
        assert validate_dataset(folder).faults
        for read in _everything(folder):
            try:
                read()
            except ImigError as error:
                errors.append(error.message)
    assert not mark.exists()
    assert not seen
    assert any(name in one for one in errors)


def _put(folder: Path, member: str, data: bytes) -> Path:
    sample: Sample = make_scene(0, subset="complex", things=1)
    encode(sample)
    sample.files[member] = data
    shard = "complex-000000.tar"
    seal(folder, {shard: [sample]}, {shard: write_samples(folder / shard, [sample])})
    return folder


@pytest.mark.parametrize(
    "member", ["target.jpg", "ref00.jpg", "ref00.mask.png", ENCODED_MEMBER, FEATURES_MEMBER]
)
def test_members_of_a_sample(tmp_path: Path, mark: Path, member: str) -> None:
    folder = _put(tmp_path / "d", member, pickle.dumps(Mark(mark)))
    with WATCH.on() as seen:
        faults = validate_dataset(folder).faults
    assert {one.sample for one in faults if one.sample} == {"complex-00000000"}
    assert not mark.exists()
    assert not seen


def test_an_array_of_objects_as_features(tmp_path: Path, mark: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([Mark(mark)], dtype=object), allow_pickle=True)
    with pytest.raises(ImigError, match="cannot be read as one float16 vector"):
        features_from_bytes((tmp_path / "x.npy").read_bytes(), place="x")
    assert not mark.exists()


def test_a_column_of_a_type_that_is_a_pickle(good: Path, tmp_path: Path, mark: Path) -> None:
    """pyarrow had such types until version 14 (CVE-2023-47248)."""
    shutil.copytree(good, tmp_path / "d")
    path = tmp_path / "d" / "index.parquet"
    table = pq.read_table(path)
    fields = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Mark(mark)),
    }
    schema = pa.schema([one.with_metadata(fields) for one in table.schema])
    pq.write_table(table.cast(schema), path)
    validate_dataset(tmp_path / "d")
    assert len(imig.Dataset(tmp_path / "d").index) == 1
    assert not mark.exists()


def _adapter(path: Path) -> object:
    with open_adapter(find_adapter_file(path)) as file:
        return file


OTHERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "an adapter": ("x.safetensors", _adapter),
    "an adapter of old": ("x.bin", _adapter),
    "a layout": ("x.json", load_layout),
    "a recipe": ("x.yaml", load_recipe),
    "an archive": ("x.tar", lambda path: read_all(source_of(path))),
}


@pytest.mark.parametrize(("name", "read"), OTHERS.values(), ids=OTHERS)
def test_other_files(tmp_path: Path, mark: Path, name: str, read: Callable[[Path], object]) -> None:
    path = plain_pickle(tmp_path / name, mark)
    with WATCH.on() as seen, pytest.raises(ImigError) as caught:
        read(path)
    assert name in caught.value.message
    assert not mark.exists()
    assert not seen


def test_a_recipe_with_objects_of_python(tmp_path: Path, mark: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"name: !!python/object/apply:builtins.open [{str(mark)!r}, w]\n")
    with pytest.raises(ImigError, match=r"x\.yaml"):
        load_recipe(path)
    assert not mark.exists()


@pytest.mark.parametrize("ending", ["pyd", "pickle", "pkl", "pth", "npy", "npz", "pt", "pgz"])
def test_members_that_webdataset_would_decode(tmp_path: Path, mark: Path, ending: str) -> None:
    """The package webdataset loads some of these by their ending; here they are nothing known."""
    data = pickle.dumps(Mark(mark))
    picture = make_scene(0).files["target.jpg"]
    members = [("a.jpg", picture), (f"a.{ending}", data), (f"a.{ending}.gz", gzip.compress(data))]
    path = write_tar(tmp_path / "x.tar", members)
    with WATCH.on() as seen:
        read_all(source_of(path))
    assert not mark.exists()
    assert not [one for one in seen if "pickle" in one]

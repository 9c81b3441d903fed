"""Faults of the tar, the index, the manifest and the folder; random damage; what is printed."""

import io
import json
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from support.tiny_dataset import make_samples, seal, seal_manifest, write_tiny_dataset

from imig.checks.dataset import validate_dataset
from imig.checks.faults import KINDS
from imig.checks.report import print_report, report_to_json
from imig.errors import UsageError
from imig.shards.index import INDEX_NAME
from imig.shards.manifest import MANIFEST_NAME
from imig.shards.writer import sample_to_members, write_members

SHARD = "basic-000001.tar"
Change = Callable[[Any], object]
"""Changes parsed JSON, or the rows of a table, in place."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_dataset(tmp_path / "shards")


def kinds(folder: Path) -> set[str]:
    return {fault.kind for fault in validate_dataset(folder).faults}


def reseal(folder: Path, change: Callable[[bytearray], None]) -> None:
    """Change the bytes of a shard and give the manifest its new checksum."""
    data = bytearray((folder / SHARD).read_bytes())
    change(data)
    (folder / SHARD).write_bytes(data)
    seal_manifest(folder, {"basic-000000.tar": 3, SHARD: 3})


def headers(folder: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(folder / SHARD) as tar:
        return tar.getmembers()


def test_a_damaged_header(folder: Path) -> None:
    # The first member of the last sample: the sample lacks it, and seems to begin behind it.
    first = next(one for one in headers(folder) if one.name.startswith("basic-00000005"))
    reseal(folder, lambda data: data.__setitem__(first.offset + 3, data[first.offset + 3] ^ 1))
    found = kinds(folder)
    assert found == {"bad-header-checksum", "missing-member", "index-offset"}


@pytest.mark.parametrize("garbage", [b"\x01" * 512, b"x" * 77, b"ustar" * 300])
def test_garbage_between_members(folder: Path, garbage: bytes) -> None:
    last = headers(folder)[-1]
    reseal(folder, lambda data: data.__setitem__(slice(last.offset, last.offset), garbage))
    # Behind it everything is still read: no member is missing.
    assert kinds(folder) == {"garbage-between-members", "index-offset"}


def test_a_shard_cut_inside_a_header(folder: Path) -> None:
    last = headers(folder)[-1]
    reseal(folder, lambda data: data.__delitem__(slice(last.offset + 100, None)))
    assert kinds(folder) == {"truncated-header", "missing-member", "index-offset"}


def test_a_shard_cut_inside_data(folder: Path) -> None:
    last = headers(folder)[-1]
    reseal(folder, lambda data: data.__delitem__(slice(last.offset_data + 100, None)))
    assert kinds(folder) == {"truncated-data", "missing-member", "index-offset"}


@pytest.mark.parametrize("left", [0, 512])
def test_a_shard_without_its_end(folder: Path, left: int) -> None:
    last = headers(folder)[-1]
    end = last.offset_data + -(-last.size // 512) * 512 + left
    reseal(folder, lambda data: data.__delitem__(slice(end, None)))
    assert kinds(folder) == {"missing-end-of-archive"}


def test_data_behind_the_end(folder: Path) -> None:
    reseal(folder, lambda data: data.extend(data))
    assert kinds(folder) == {"data-after-end"}


def test_an_empty_shard(folder: Path) -> None:
    reseal(folder, bytearray.clear)
    assert {"unreadable-shard", "shard-samples"} <= kinds(folder)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE]
)
def test_what_is_no_plain_file(folder: Path, kind: bytes) -> None:
    with tarfile.open(folder / SHARD, "a") as tar:
        info = tarfile.TarInfo("basic-00000005.target.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info, io.BytesIO())
    seal_manifest(folder, {"basic-000000.tar": 3, SHARD: 3})
    assert kinds(folder) == {"not-a-plain-file"}


def test_scattered_and_doubled_samples(tmp_path: Path) -> None:
    samples = make_samples(3)
    first, second, third = (sample_to_members(sample) for sample in samples)
    name = "basic-000000.tar"
    for members, kind in (
        ([first[:-1], second, third, first[-1:]], "scattered-sample"),
        ([first, second, third, second], "duplicate-sample"),
    ):
        spans = write_members(tmp_path / name, members)
        seal(tmp_path, {name: samples}, {name: spans[:3]})
        faults = validate_dataset(tmp_path).faults
        assert {fault.kind for fault in faults} - {"index-offset"} == {kind}


def test_a_sample_in_two_shards(tmp_path: Path) -> None:
    samples = make_samples(3)
    shards = {"basic-000000.tar": samples, "basic-000001.tar": samples[2:]}
    spans = {
        name: write_members(tmp_path / name, [sample_to_members(one) for one in group])
        for name, group in shards.items()
    }
    seal(tmp_path, shards, spans)
    faults = validate_dataset(tmp_path).faults
    assert [(one.kind, one.shard, one.sample) for one in faults] == [
        ("duplicate-sample", "basic-000001.tar", "basic-00000002")
    ]


def edit_index(folder: Path, change: Change) -> None:
    table = pq.read_table(folder / INDEX_NAME)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / INDEX_NAME)


def edit_manifest(folder: Path, change: Change) -> None:
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    change(manifest)
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))


INDEX_FAULTS: list[tuple[str, Change]] = [
    ("index-missing-row", lambda rows: rows.pop(2)),
    ("index-stale-row", lambda rows: rows.append({**rows[0], "id": "basic-77"})),
    ("index-duplicate-row", lambda rows: rows.append(rows[0])),
    ("index-offset", lambda rows: rows[0].update(offset=512)),
    ("index-offset", lambda rows: rows[0].update(size=512)),
    ("index-values", lambda rows: rows[0].update(caption="Nothing.")),
    ("index-values", lambda rows: rows[0].update(mean_clip_similarity=None)),
    ("index-values", lambda rows: rows[0]["instance_records"][1].update(area=1)),
    ("index-values", lambda rows: rows[0]["instance_records"][0]["references"].pop()),
    ("index-values", lambda rows: rows[0].update(instance_records=None)),
]


@pytest.mark.parametrize(("kind", "change"), INDEX_FAULTS)
def test_faults_of_the_index(folder: Path, kind: str, change: Change) -> None:
    edit_index(folder, change)
    assert kinds(folder) == {kind}


MANIFEST_FAULTS: list[tuple[str, Change]] = [
    ("bad-manifest", lambda manifest: manifest.pop("counts")),
    ("counts", lambda manifest: manifest["counts"].update(input=7)),
    ("counts", lambda manifest: manifest["counts"].update(written=5, input=5)),
    ("table-rows", lambda manifest: manifest["counts"].update(rejected=1, input=7)),
    ("shard-size", lambda manifest: manifest["shards"][0].update(bytes=1)),
    ("shard-checksum", lambda manifest: manifest["shards"][0].update(sha256="0" * 64)),
]


@pytest.mark.parametrize(("kind", "change"), MANIFEST_FAULTS)
def test_faults_of_the_manifest(folder: Path, kind: str, change: Change) -> None:
    edit_manifest(folder, change)
    assert kinds(folder) == {kind}


def test_shards_that_manifest_and_folder_do_not_share(folder: Path) -> None:
    whole = (folder / SHARD).read_bytes()
    (folder / SHARD).unlink()
    assert kinds(folder) == {"missing-shard"}
    (folder / SHARD).write_bytes(whole)
    seal_manifest(folder, {"basic-000000.tar": 3})
    assert kinds(folder) == {"unlisted-shard"}
    seal_manifest(folder, {"basic-000000.tar": 4, SHARD: 2})
    assert kinds(folder) == {"shard-samples"}


def test_files_that_are_missing_or_too_many(folder: Path) -> None:
    for name, kind in (
        ("README.md", "missing-file"),
        (INDEX_NAME, "missing-index"),
        (MANIFEST_NAME, "missing-manifest"),
    ):
        data = (folder / name).read_bytes()
        (folder / name).unlink()
        assert kinds(folder) == {kind}
        (folder / name).write_bytes(data)
    for name, kind in (("data.zip", "unexpected-file"), (".x.tar.tmp-12", "unfinished-build")):
        (folder / name).touch()
        assert kinds(folder) == {kind}
        (folder / name).unlink()
    (folder / INDEX_NAME).write_bytes((folder / INDEX_NAME).read_bytes()[:500])
    assert kinds(folder) == {"bad-index"}


def test_tables_are_counted(folder: Path) -> None:
    texts = {"id": ["a", "b"], "stage": ["x", "x"], "reason": ["y", "y"], "figures": ["{}", "{}"]}
    pq.write_table(pa.table(texts), folder / "rejects.parquet")
    assert kinds(folder) == {"table-rows"}
    edit_manifest(folder, lambda manifest: manifest["counts"].update(rejected=2, input=8))
    assert kinds(folder) == set()


def test_what_holds_no_dataset_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no dataset folder"):
        validate_dataset(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no dataset"):
        validate_dataset(tmp_path)


def test_random_damage_is_always_found(folder: Path) -> None:
    generator = random.Random(0)
    whole = (folder / SHARD).read_bytes()
    for _ in range(50):
        (folder / SHARD).write_bytes(whole[: generator.randrange(len(whole))])
        assert not validate_dataset(folder).ok
    for _ in range(50):
        data = bytearray(whole)
        data[generator.randrange(len(data))] ^= generator.randrange(1, 256)
        (folder / SHARD).write_bytes(data)
        assert not validate_dataset(folder).ok


def test_an_index_that_was_written_again_with_the_same_rows(folder: Path) -> None:
    table = pq.read_table(folder / INDEX_NAME)
    pq.write_table(table, folder / INDEX_NAME, compression="gzip")
    assert kinds(folder) == {"index-checksum"}


def test_an_index_with_a_damaged_column_name(folder: Path) -> None:
    data = (folder / INDEX_NAME).read_bytes()
    (folder / INDEX_NAME).write_bytes(data.replace(b"mean_dino", b"mean\xffdino"))
    assert kinds(folder) == {"bad-index"}


def test_random_damage_of_index_and_manifest_never_raises(folder: Path) -> None:
    generator = random.Random(1)
    for name in (INDEX_NAME, MANIFEST_NAME):
        whole = (folder / name).read_bytes()
        for _ in range(25):
            data = bytearray(whole)
            data[generator.randrange(len(data))] ^= generator.randrange(1, 256)
            (folder / name).write_bytes(data)
            validate_dataset(folder)
        (folder / name).write_bytes(whole)
    assert validate_dataset(folder).ok


def test_the_report_names_kinds_counts_and_samples(folder: Path) -> None:
    edit_index(folder, lambda rows: [row.update(caption="[red]no markup\x1b") for row in rows])
    report = validate_dataset(folder)
    assert not report.ok
    assert report_to_json(report)["counts"] == {"index-values": 6}
    json.dumps(report_to_json(report))
    console = Console(record=True, width=120, file=io.StringIO())
    print_report(report, console, examples=2)
    text = console.export_text()
    assert "index-values" in text
    assert KINDS["index-values"] in text
    assert "basic-00000001" in text
    assert "and 4 more" in text
    assert "[red]no markup" in text
    assert "6 in 2 shards" in text


def test_a_good_dataset_gets_one_line(folder: Path) -> None:
    report = validate_dataset(folder)
    console = Console(record=True, width=200, file=io.StringIO())
    print_report(report, console)
    text = console.export_text()
    assert text.startswith("ok")
    assert "2 shards, 6 samples, 42 images, 36 masks" in text
    assert report.ok
    assert report_to_json(report)["ok"] is True

"""Shards: bytes that depend on the samples only, readable by tar and webdataset without imig."""

import os
import subprocess
import tarfile
from itertools import pairwise
from pathlib import Path

import pytest
import webdataset
from support.tiny_dataset import make_sample, make_samples, write_tiny_dataset

from imig.errors import DataError
from imig.shards.atomic import atomic_write, is_temporary, temporary_path
from imig.shards.tar import make_header, parse_header
from imig.shards.writer import concatenate_parts, read_tar, sample_spans, write_members, write_tar


def test_samples_come_back_byte_for_byte(tmp_path: Path) -> None:
    samples = make_samples(3)
    spans = write_tar(tmp_path / "a.tar", samples)
    read = list(read_tar(tmp_path / "a.tar"))
    assert [span for span, _ in read] == spans
    for sample, (_, files) in zip(samples, read, strict=True):
        assert {name: data for name, data in files.items() if name != "json"} == sample.files


def test_headers_carry_nothing_of_the_machine(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", make_samples(1))
    with tarfile.open(tmp_path / "a.tar") as tar:
        infos = tar.getmembers()
    assert {(one.mtime, one.uid, one.gid, one.uname, one.mode) for one in infos} == {
        (0, 0, 0, "", 0o644)
    }
    assert [one.name for one in infos] == sorted(one.name for one in infos)


def test_same_samples_same_dataset(tmp_path: Path) -> None:
    first, second = (write_tiny_dataset(tmp_path / name) for name in "ab")
    assert {one.name: one.read_bytes() for one in first.iterdir()} == {
        one.name: one.read_bytes() for one in second.iterdir()
    }


def test_gnu_tar_lists_a_shard(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", make_samples(2))
    listed = subprocess.run(
        ["tar", "tf", tmp_path / "a.tar"], capture_output=True, text=True, check=True
    )
    assert listed.stderr == ""
    assert "basic-00000001.target.jpg" in listed.stdout.splitlines()


def test_webdataset_reads_a_shard(tmp_path: Path) -> None:
    samples = make_samples(3)
    write_tar(tmp_path / "a.tar", samples)
    read = list(webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False).decode("pil"))
    assert [one["__key__"] for one in read] == [sample.scene.id for sample in samples]
    assert [one["json"]["caption"] for one in read] == [one.scene.caption for one in samples]
    assert {one["target.jpg"].size for one in read} == {(96, 64)}
    assert all("ref00.mask.png" in one for one in read)


@pytest.mark.parametrize("cuts", [[], [2], [1, 1, 4], [0, 3, 3, 5]])
def test_joined_parts_are_the_tar_of_all_samples(tmp_path: Path, cuts: list[int]) -> None:
    samples = make_samples(5)
    edges = [0, *cuts, len(samples)]
    parts = []
    for number, (start, end) in enumerate(pairwise(edges)):
        parts.append(tmp_path / f"part-{number}.tar")
        write_tar(parts[-1], samples[start:end])
    joined = concatenate_parts(parts, tmp_path / "joined.tar")
    assert joined == write_tar(tmp_path / "whole.tar", samples)
    assert (tmp_path / "joined.tar").read_bytes() == (tmp_path / "whole.tar").read_bytes()


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    part = tmp_path / "part.tar"
    write_tar(part, make_samples(2))
    part.write_bytes(part.read_bytes()[:9000])
    with pytest.raises(DataError, match=r"part\.tar"):
        concatenate_parts([part], tmp_path / "joined.tar")
    assert [one.name for one in tmp_path.iterdir()] == ["part.tar"]


def test_a_sample_without_a_named_member_is_refused(tmp_path: Path) -> None:
    sample = make_sample(0)
    del sample.files["ref01.jpg"]
    with pytest.raises(DataError, match=r"basic-00000000 lacks ref01\.jpg"):
        write_tar(tmp_path / "a.tar", [sample])
    assert not list(tmp_path.iterdir())


def test_a_name_too_long_for_a_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not fit"):
        write_members(tmp_path / "a.tar", [[("x" * 120 + ".json", b"{}")]])


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"cannot write .*file/a\.tar"):
        write_tar(tmp_path / "file" / "a.tar", make_samples(1))


def _write_more_than_fits(target: Path) -> None:
    with atomic_write(target) as path:
        path.write_text("half")
        # The one device that is always full.
        with open("/dev/full", "w") as full:
            full.write("x")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(DataError, match=r"a\.txt: No space left"):
        _write_more_than_fits(target)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_temporary_names_are_recognised(tmp_path: Path) -> None:
    assert is_temporary(temporary_path(tmp_path / "a.tar").name)
    assert not is_temporary("a.tar")
    assert not is_temporary(".a.tmp-x")


def test_an_empty_tar_has_no_samples(tmp_path: Path) -> None:
    assert write_tar(tmp_path / "a.tar", []) == []
    assert list(sample_spans(tmp_path / "a.tar")) == []


@pytest.mark.parametrize("name", ["basic-0.json", "x" * 100, "ü" * 50, "odd-\udc80.json"])
@pytest.mark.parametrize("size", [0, 1, 1023, 8**11 - 1])
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    header = make_header(name, size)
    assert header == info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape")
    assert parse_header(header) == (name, size, True)


def test_headers_of_others_are_read_as_tarfile_reads_them() -> None:
    info = tarfile.TarInfo("folder/long/" + "y" * 95)
    info.size, info.mode, info.mtime, info.uname = 77, 0o600, 1700000000, "me"
    assert parse_header(info.tobuf(tarfile.USTAR_FORMAT)) == (info.name, 77, True)
    info.type, info.linkname = tarfile.SYMTYPE, "elsewhere"
    assert not parse_header(info.tobuf(tarfile.USTAR_FORMAT)).plain


def test_damaged_headers_are_refused_where_tarfile_refuses_them() -> None:
    header = make_header("basic-00000000.ref00.jpg", 4711)
    refused = 0
    for place in range(len(header)):
        for change in (1, 0x10, 0x80):
            damaged = bytearray(header)
            damaged[place] ^= change
            try:
                known = tarfile.TarInfo.frombuf(bytes(damaged), "utf-8", "surrogateescape")
            except tarfile.HeaderError:
                refused += 1
                with pytest.raises(tarfile.HeaderError):
                    parse_header(bytes(damaged))
            else:
                assert parse_header(bytes(damaged)) == (known.name, known.size, known.isreg())
    # All but what ends the checksum, and its leading zeros.
    assert refused > 3 * (len(header) - 8)


def test_what_does_not_fit_a_header_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="101 bytes"):
        make_header("x" * 101, 0)
    with pytest.raises(ValueError, match="too many"):
        make_header("x", 8**11)
    with pytest.raises(DataError, match="does not fit into a tar header"):
        write_members(tmp_path / "a.tar", [[("x" * 101, b"")]])
    assert list(tmp_path.iterdir()) == []

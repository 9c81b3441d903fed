"""Limits that keep a few damaged bytes from costing memory, each where it is checked."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, JpegImagePlugin
from pydantic import ValidationError
from support.fuzzing.formats import mend_checksum, split_tar
from support.tiny_dataset import make_sample, write_tiny_dataset

import imig
from imig.checks.folder import check_index
from imig.checks.pictures import Findings, check_image
from imig.checks.shard import check_shard
from imig.display.picture import draw_preview
from imig.errors import DataError
from imig.layout.masks import rle_to_mask
from imig.layout.run_lengths import mask_extents
from imig.pictures import decode_pixels
from imig.regular_file import open_regular_file
from imig.schema import (
    MAX_INSTANCES,
    MAX_PIXELS,
    MAX_SIDE,
    EncodingRecord,
    MaskRLE,
    Scene,
    ShardRecord,
    scene_to_json,
)
from imig.shards.features import features_from_bytes, features_to_bytes
from imig.shards.index import INDEX_NAME, read_index_table
from imig.shards.places import check_places
from imig.shards.views import SceneView
from imig.shards.writer import read_tar
from imig.training.catalogue import read_catalogue
from imig.training.prepare import target_size
from imig.training.recipe import DataConfig


def scene_with(**new: Any) -> Scene:
    return Scene.model_validate({**json.loads(scene_to_json(make_sample(0).scene)), **new})


def test_a_mask_of_the_largest_sides_is_too_large() -> None:
    with pytest.raises(ValidationError, match="a mask of"):
        MaskRLE(size=(MAX_SIDE, MAX_SIDE), counts="0")


def test_a_target_of_the_largest_sides_is_too_large() -> None:
    with pytest.raises(ValidationError, match="a target of"):
        scene_with(width=MAX_SIDE, height=MAX_PIXELS // MAX_SIDE + 1, instances=[], relations=[])


def test_more_instances_than_there_may_be() -> None:
    [one, *_] = json.loads(scene_to_json(make_sample(0).scene))["instances"]
    many = [{**one, "index": index, "references": []} for index in range(MAX_INSTANCES + 1)]
    with pytest.raises(ValidationError, match="at most 1000"):
        scene_with(instances=many, layer_order=[], relations=[])


def test_an_area_that_no_mask_can_have() -> None:
    one = json.loads(scene_to_json(make_sample(0).scene))
    one["instances"][0]["area"] = MAX_PIXELS + 1
    with pytest.raises(ValidationError, match="area"):
        Scene.model_validate(one)


def test_counts_that_no_table_can_hold() -> None:
    with pytest.raises(ValidationError, match="bytes"):
        ShardRecord(name="x.tar", samples=1, bytes=1 << 63, sha256="")


@pytest.mark.parametrize("field", ["target_width", "reference_side", "max_references"])
def test_an_encoding_at_sizes_that_cannot_be(field: str) -> None:
    good = {
        "weights": "tiny", "revision": "0", "dtype": "float32", "target_width": 96,
        "reference_side": 32, "max_references": 8, "instruction": "", "edits": "never",
        "faces": "never",
    }  # fmt: skip
    EncodingRecord.model_validate(good)
    with pytest.raises(ValidationError, match=field):
        EncodingRecord.model_validate({**good, field: 10**400})


def test_a_picture_of_another_size_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = make_sample(0)
    buffer = io.BytesIO()
    Image.new("RGB", (640, 480)).save(buffer, "JPEG")
    files = {**sample.files, "target.jpg": buffer.getvalue()}
    view = SceneView(sample.scene, files, place="sample x")

    def load(_: object) -> None:
        raise AssertionError("decoded before it was looked at")

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", load)
    with pytest.raises(DataError, match=r"target\.jpg is JPEG RGB of 640x480 instead of"):
        view.target  # noqa: B018


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 6\n%%EndComments\nshowpage\n%%EOF\n"


def test_formats_that_hand_a_file_to_other_programs_are_not_opened() -> None:
    with pytest.raises(OSError, match="of no format that imig reads"):
        decode_pixels(EPS)


def test_formats_that_hand_a_file_to_other_programs_are_not_opened_to_validate() -> None:
    findings = Findings(shard="x.tar", sample="x")
    assert check_image(findings, "target.jpg", EPS, size=(9, 6), mode="RGB", kind="EPS") is None
    assert "of no format that imig reads" in findings.faults[0].message


def test_a_pipe_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no regular file"):
        open_regular_file(tmp_path / "pipe")


def changed_header(folder: Path, start: int, new: bytes, *, member: str = "ref00.jpg") -> None:
    """Overwrite a field in the header of a member of the first sample, and mend the checksum."""
    shard = folder / "basic-000000.tar"
    members = split_tar(shard.read_bytes())
    name = f".{member}\0".encode()
    number = next(place for place, one in enumerate(members) if name in one[:100])
    old = members[number]
    header = old[:start] + new + old[start + len(new) : tarfile.BLOCKSIZE]
    members[number] = mend_checksum(header) + old[tarfile.BLOCKSIZE :]
    shard.write_bytes(b"".join(members))


def test_a_link_in_the_region_of_a_sample(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "d", scenes=1)
    changed_header(folder, 156, b"2")
    with pytest.raises(DataError, match="that is no plain file"):
        list(imig.Dataset(folder))


def test_a_link_in_place_of_the_json(tmp_path: Path) -> None:
    """Whose data are those of the JSON all the same."""
    folder = write_tiny_dataset(tmp_path / "d", scenes=1)
    changed_header(folder, 156, b"2", member="json")
    with pytest.raises(DataError, match="json that is no plain file"):
        list(imig.Dataset(folder).records())


def test_a_link_in_a_shard_that_is_copied(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "d", scenes=1)
    changed_header(folder, 156, b"2")
    with pytest.raises(DataError, match="that is no plain file"):
        list(read_tar(folder / "basic-000000.tar"))
    faults = check_shard(folder / "basic-000000.tar").faults
    assert "not-a-plain-file" in {one.kind for one in faults}


def test_a_member_twice_in_a_shard_that_is_copied(tmp_path: Path) -> None:
    shard = write_tiny_dataset(tmp_path / "d", scenes=1) / "basic-000000.tar"
    first, *others = split_tar(shard.read_bytes())
    shard.write_bytes(b"".join([first, first, *others]))
    with pytest.raises(DataError, match="twice"):
        list(read_tar(shard))


def test_a_member_that_reaches_beyond_its_sample_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_tiny_dataset(tmp_path / "d", scenes=1)
    changed_header(folder, 124, b"77777777777\0")
    dataset = imig.Dataset(folder)
    read, asked = dataset._read_range, []

    def note(row: int, offset: int, size: int) -> bytes:
        asked.append(size)
        return read(row, offset, min(size, 1 << 20))

    monkeypatch.setattr(dataset, "_read_range", note)
    with pytest.raises(DataError, match="reaches beyond the sample"):
        dataset.read_member(dataset.ids[0], "target.jpg")
    assert max(asked) < 1 << 20


def test_rows_of_another_shard_are_not_there(tmp_path: Path) -> None:
    dataset = imig.Dataset(write_tiny_dataset(tmp_path / "d", scenes=1))
    table = dataset.read_columns("id", "shard", "offset", "size")
    with pytest.raises(DataError, match="which the manifest does not list"):
        check_places(table, [ShardRecord(name="y.tar", samples=1, bytes=9, sha256="")], index="i")


@pytest.mark.parametrize("column", ["id", "shard", "offset", "size"])
def test_rows_without_a_place(column: str, tmp_path: Path) -> None:
    dataset = imig.Dataset(write_tiny_dataset(tmp_path / "d", scenes=1))
    table = dataset.read_columns("id", "shard", "offset", "size")
    at = table.column_names.index(column)
    table = table.set_column(at, column, pa.nulls(1, table[column].type))
    with pytest.raises(DataError, match=f"has rows without {column}"):
        check_places(table, dataset.manifest.shards, index="i")


def test_many_more_rows_than_samples_are_not_read(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "d", scenes=1)
    table = read_index_table(folder / INDEX_NAME)
    pq.write_table(table.take([0] * 1003), folder / INDEX_NAME)
    checks = [check_shard(folder / "basic-000000.tar")]
    [fault] = check_index(folder, checks, sha256=None)
    assert "has 1003 rows, the shards 1 samples" in fault.message


@pytest.mark.parametrize(
    "name", ["/etc/x.tar", "../x.tar", ".x.tar", "http://x/y.tar", "x", "é.tar"]
)
def test_a_shard_lies_in_the_folder(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        ShardRecord(name=name, samples=1, bytes=9, sha256="")


def test_a_target_like_a_thread_in_an_index(tmp_path: Path) -> None:
    """It obeys the schema: what it would become at the training's width is what is too much."""
    folder = write_tiny_dataset(tmp_path / "d", scenes=1)
    table = read_index_table(folder / INDEX_NAME)
    for name, side in (("width", 1), ("height", MAX_SIDE)):
        at = table.column_names.index(name)
        table = table.set_column(at, table.field(at), pa.array([side], table.field(at).type))
    pq.write_table(table, folder / INDEX_NAME)
    with pytest.raises(DataError, match="sample basic-00000000: a target of 1x16384") as caught:
        read_catalogue([imig.Dataset(folder)], config=DataConfig(target_width=768))
    assert INDEX_NAME in caught.value.message
    assert "data.target_width" in caught.value.cure


def test_a_target_like_a_thread() -> None:
    with pytest.raises(ValueError, match="768x12582912"):
        target_size(1, MAX_SIDE, config=DataConfig(target_width=768))


def test_the_preview_of_a_target_like_a_thread() -> None:
    """Its layout is no higher than the target is drawn."""
    one = json.loads(scene_to_json(make_sample(0, things=1).scene))
    thread = (1, MAX_SIDE)
    one.update(width=thread[0], height=thread[1])
    instance = one["instances"][0]
    instance.update(mask=None, area=None, box=[0, 0, *thread])
    instance["references"][0]["crop_box"] = [0, 0, *thread]
    buffer = io.BytesIO()
    Image.new("RGB", thread).save(buffer, "JPEG")
    files = {**make_sample(0, things=1).files, "target.jpg": buffer.getvalue()}
    page = draw_preview(SceneView(Scene.model_validate(one), files, place="sample x"))
    assert max(page.size) < 4000


def test_a_run_that_is_spelt_longer_than_any() -> None:
    """Its value is right, but C shifts modulo 64: readers would differ."""
    width, height, characters = 96, 64, 9
    groups = [(width * height >> 5 * place) & 31 for place in range(characters)]
    more = [32] * (characters - 1) + [0]
    counts = "".join(chr(48 + (one | bit)) for one, bit in zip(groups, more, strict=True))
    mask = MaskRLE(size=(height, width), counts=counts)
    assert mask_extents([mask]) == [None]
    with pytest.raises(DataError, match="mask run lengths do not describe"):
        rle_to_mask(mask)


def test_features_of_another_length_than_stated() -> None:
    data = features_to_bytes(range(1, 5)).replace(b"(4,)", b"(5,)")
    with pytest.raises(DataError, match="8 bytes instead of 5 values"):
        features_from_bytes(data, place="here")

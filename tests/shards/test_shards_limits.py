"""Limits that keep a few damaged bytes from costing memory, each where it is checked."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image, JpegImagePlugin
from pydantic import ValidationError
from support.fuzzing.formats import mend_checksum, split_tar
from support.tiny_dataset import make_sample, write_tiny_dataset

import imig
from imig.errors import DataError
from imig.layout.masks import rle_to_mask
from imig.pictures import decode_pixels
from imig.preview.picture import draw_preview
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
from imig.shards.places import check_places
from imig.shards.run_lengths import mask_extents
from imig.shards.views import SceneView
from imig.training.catalogue_check import check_plannable
from imig.training.catalogue_columns import scenes_to_column
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


def test_formats_that_hand_a_file_to_other_programs_are_not_opened() -> None:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 6\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(OSError, match="of no format that imig reads"):
        decode_pixels(eps)


def test_a_pipe_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no regular file"):
        open_regular_file(tmp_path / "pipe")


def changed_header(folder: Path, start: int, new: bytes) -> None:
    """Overwrite a field in the header of the second member, and mend the checksum."""
    shard = folder / "basic-000000.tar"
    members = split_tar(shard.read_bytes())
    header = members[1][:start] + new + members[1][start + len(new) : tarfile.BLOCKSIZE]
    members[1] = mend_checksum(header) + members[1][tarfile.BLOCKSIZE :]
    shard.write_bytes(b"".join(members))


def test_a_link_in_the_region_of_a_sample(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "d", scenes=1)
    changed_header(folder, 156, b"2")
    with pytest.raises(DataError, match="that is no plain file"):
        list(imig.Dataset(folder))


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


def test_a_kind_of_reference_that_is_none() -> None:
    scene = make_sample(0).scene
    column = scenes_to_column([scene])
    rows = column.to_pylist()
    rows[0][0]["references"][0]["kind"] = "x"
    table = pa.table(
        {
            "id": [scene.id],
            "subset": [scene.subset],
            "width": [scene.width],
            "height": [scene.height],
            "caption": [scene.caption],
            "instance_records": pa.chunked_array([pa.array(rows, type=column.type)]),
        }
    )
    with pytest.raises(DataError, match="a reference of an unknown kind"):
        check_plannable(table, index="here")


def test_features_of_another_length_than_stated() -> None:
    data = features_to_bytes(range(1, 5)).replace(b"(4,)", b"(5,)")
    with pytest.raises(DataError, match="8 bytes instead of 5 values"):
        features_from_bytes(data, place="here")

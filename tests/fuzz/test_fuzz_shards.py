"""The small readers of a dataset: run lengths, features, reports, tables, rows, tars."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.run_lengths import pixels_in_counts

from imig.checks.faults import KINDS
from imig.errors import DataError
from imig.layout.masks import mask_to_rle, rle_to_mask
from imig.layout.run_lengths import mask_extents
from imig.schema import MaskRLE, ShardRecord
from imig.shards.features import features_from_bytes, features_to_bytes
from imig.shards.funnel import read_funnel
from imig.shards.index import index_schema, read_index_table
from imig.shards.places import check_places
from imig.shards.tables import read_quarantine, read_rejects
from imig.shards.tar import TarFault, TarMember, make_header, padded, parse_header, walk_tar

SIDES = st.integers(1, 40) | st.sampled_from([1, 255, 1024])
COUNTS = (
    st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=24)
    | st.text(max_size=12)
    | st.sampled_from(["", "0", "0o", "o" * 9, "PhPhPhP" + "o" * 14 + "O", "0" * 30])
)


@given(st.tuples(SIDES, SIDES), COUNTS)
def test_run_lengths_are_those_of_a_plain_reader(size: tuple[int, int], counts: str) -> None:
    mask = MaskRLE(size=size, counts=counts)
    [extent] = mask_extents([mask])
    assert (extent is None) == (pixels_in_counts(counts) != size[0] * size[1])
    if extent is None:
        with pytest.raises(DataError, match="mask run lengths do not describe"):
            rle_to_mask(mask)
        return
    decoded = rle_to_mask(mask)
    assert decoded.shape == size
    assert int(decoded.sum()) == extent.area


@given(st.lists(st.tuples(st.tuples(SIDES, SIDES), COUNTS), max_size=4))
def test_masks_together_and_alone(masks: list[tuple[tuple[int, int], str]]) -> None:
    some = [MaskRLE(size=size, counts=counts) for size, counts in masks]
    some.append(mask_to_rle(np.eye(7, dtype=bool)))
    assert mask_extents(some) == [mask_extents([one])[0] for one in some]


@given(
    st.binary(max_size=40)
    | st.builds(
        lambda shape, kind, data: (
            b"\x93NUMPY\x01\x00"
            + len(text := f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n")
            .to_bytes(2, "little")
            + text.encode("latin-1", "replace")
            + data
        ),
        st.sampled_from(["(4,)", "()", "(-4,)", "(999999,)", "(2, 2)", "(10**9,)", "(1e9,)"]),
        st.sampled_from(["<f2", "|O", "<f8", "<i2"]),
        st.binary(min_size=8, max_size=8),
    )
)  # fmt: skip
def test_any_features(data: bytes) -> None:
    try:
        vector = features_from_bytes(data, place="here")
    except DataError as error:
        assert error.message.startswith("here: features.npy ")  # noqa: PT017
    else:
        assert features_to_bytes(vector)[:10] == data[:10]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
ROW = {
    "stage": "x", "seen": 1, "rejected": 0, "quarantined": 0, "passed": 1, "seconds": 0.5,
    "reasons": {},
}  # fmt: skip


@given(
    JSON
    | st.builds(
        lambda name, value: {"stages": [{**ROW, name: value}]},
        st.sampled_from([*ROW, "oddities", "x"]),
        JSON | st.dictionaries(st.text(max_size=3), JSON, max_size=2),
    )
)
@example({"stages": [ROW]})
def test_any_report(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        path.write_text(json.dumps(value), encoding="utf-8")
        try:
            rows = read_funnel(path)
        except DataError as error:
            assert str(path) in error.message  # noqa: PT017
        else:
            assert all(isinstance(row.seen, int) for row in rows)


@given(
    st.dictionaries(
        st.sampled_from(["id", "stage", "reason", "figures", "error", "traceback"]),
        st.lists(st.text(max_size=5) | st.none(), min_size=2, max_size=2)
        | st.lists(st.integers(-5, 5), min_size=2, max_size=2)
        | st.just(["{}", "[1]"]),
    )
)
def test_any_table_of_rejects(columns: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("rejects.parquet", "quarantine.parquet"):
            pq.write_table(pa.table(columns), folder / file)
        for read in (read_rejects, read_quarantine):
            try:
                read(folder)
            except DataError as error:
                assert str(folder) in error.message  # noqa: PT017


PLACES = st.integers(-1024, 4096) | st.sampled_from([0, 512, 1024, 2**62, 2**63 - 1, -(2**63)])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["x.tar", "y.tar", "../x.tar", ""]) | st.none(),
            PLACES | st.none(),
            PLACES | st.none(),
        ),
        max_size=4,
    )
)
@example([("x.tar", 0, 1024)])
def test_places_lie_in_their_shard(rows: list[tuple[str | None, int | None, int | None]]) -> None:
    shard = ShardRecord(name="x.tar", samples=len(rows), bytes=2048, sha256="")
    empty: dict[str, list[Any]] = {name: [None] * len(rows) for name in index_schema().names}
    columns = {
        **empty,
        "id": [str(number) for number in range(len(rows))],
        "shard": [one[0] for one in rows],
        "offset": [one[1] for one in rows],
        "size": [one[2] for one in rows],
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=index_schema()), buffer)
    table = read_index_table("i", data=buffer.getvalue(), columns=("id", "shard", "offset", "size"))
    with contextlib.suppress(DataError):
        check_places(table, [shard], index="i")
        for name, offset, size in rows:
            assert name == "x.tar"
            assert offset is not None
            assert size is not None
            assert 0 <= offset < offset + size <= shard.bytes


@given(st.binary(max_size=700) | st.binary(min_size=512, max_size=512))
def test_any_header(block: bytes) -> None:
    with contextlib.suppress(tarfile.HeaderError):
        assert parse_header(block).size >= 0


@given(
    st.lists(st.tuples(st.sampled_from(["a.json", "a.x.png", "b"]), st.integers(0, 1500))),
    st.lists(st.tuples(st.integers(0, 9000), st.binary(min_size=1, max_size=9)), max_size=3),
    st.booleans(),
)
def test_a_walk_stays_inside(
    members: list[tuple[str, int]], damage: list[tuple[int, bytes]], whole: bool
) -> None:
    data = bytearray()
    for name, size in members:
        data += make_header(name, size) + bytes([65]) * size + bytes(padded(size) - size)
    data += bytes(1024)
    for offset, patch in damage:
        if offset + len(patch) <= len(data):
            data[offset : offset + len(patch)] = patch
    position = 0
    for item in walk_tar(bytes(data), whole=whole):
        if isinstance(item, TarFault):
            assert item.kind in KINDS
            assert 0 <= item.offset <= len(data)
        elif isinstance(item, TarMember):
            assert position <= item.offset
            assert item.data_offset + item.size <= len(data)
            position = item.end

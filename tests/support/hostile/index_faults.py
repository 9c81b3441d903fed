"""The index: bytes, types, rows, and places that are not there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa

from support.hostile.planted import (
    INDEX,
    NOTHING,
    ONLY_VALIDATE,
    Group,
    Part,
)
from support.hostile.victim import OTHER, SAMPLE, SHARD, Victim

INDICES = Group(
    "The index",
    "Believed about places only within the shards that the manifest lists, and checked when a "
    "dataset is opened, before any byte is read there.",
)
NAME = "index.parquet"
_ROW = INDEX.naming("index", SAMPLE)


def _file(victim: Victim, change: Callable[[bytes], bytes]) -> None:
    path = victim.folder / NAME
    victim.loose(lambda: path.write_bytes(change(path.read_bytes())))
    victim.loose(victim.seal_index)


FILES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "index-empty": ("an empty file", lambda data: b""),
    "index-cut-off": ("half of the file", lambda data: data[: len(data) // 2]),
    "index-noise": ("noise between two marks of Parquet",
                    lambda data: b"PAR1" + bytes(pow(7, n, 251) for n in range(5000)) + b"PAR1"),
    "index-footer-endless": ("a footer that says it has 2 GB",
                             lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1"),
    "index-footer-zeros": ("a footer of zeros", lambda data: data[:-200] + bytes(192) + data[-8:]),
    "index-csv": ("a table as CSV", lambda data: b"id,shard,offset,size\n"),
}  # fmt: skip
for _kind, (_what, _change) in FILES.items():
    INDICES.add(_kind, _what, INDEX, partial(_file, change=_change))


@INDICES.fault(INDEX)
def index_missing(victim: Victim) -> None:
    """no index"""
    victim.loose((victim.folder / NAME).unlink)


@INDICES.fault(INDEX)
def index_is_a_pipe(victim: Victim) -> None:
    """a named pipe in place of the index"""
    victim.pipe(NAME)


@INDICES.fault(INDEX)
def index_is_endless(victim: Victim) -> None:
    """a link to /dev/zero in place of the index"""
    victim.link(NAME, "/dev/zero")


@INDICES.fault(INDEX)
def index_is_a_folder(victim: Victim) -> None:
    """a folder in place of the index"""
    victim.make_folder(NAME)


def _table(victim: Victim, change: Callable[[pa.Table], pa.Table], **options: Any) -> None:
    def write() -> None:
        victim.write_index(change(victim.read_index()), **options)
        victim.seal_index()

    victim.loose(write)


def _cast(table: pa.Table, column: str, kind: pa.DataType) -> pa.Table:
    at = table.schema.get_field_index(column)
    return table.set_column(at, column, table[column].cast(kind))


def _filled(table: pa.Table, column: str, value: Any, *, rows: int | None = None) -> pa.Table:
    """The same value in every row, or in the first ones and null in the others."""
    at = table.schema.get_field_index(column)
    count = len(table) if rows is None else rows
    values = [value] * count + [None] * (len(table) - count)
    return table.set_column(at, column, pa.array(values))


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


TABLES: dict[str, tuple[str, Callable[[pa.Table], pa.Table]]] = {
    "index-without-offset": ("no column `offset`", lambda table: table.drop_columns(["offset"])),
    "index-offset-text": ("offsets that are texts",
                          lambda table: _filled(table, "offset", "first")),
    "index-offset-fraction": ("offsets with fractions",
                              lambda table: _filled(table, "offset", 0.5)),
    "index-offset-nan": ("offsets of NaN", lambda table: _filled(table, "offset", float("nan"))),
    "index-id-bytes": ("ids that are no UTF-8", lambda table: _filled(table, "id", b"\xff\xfe")),
    "index-id-list": ("ids that are lists", lambda table: _filled(table, "id", ["x"])),
    "index-size-64-bit": ("sizes of 2^63 and more, unsigned",
                          lambda table: table.set_column(
                              table.schema.get_field_index("size"), "size",
                              pa.array([2**64 - 1] * len(table), pa.uint64()))),
    "index-size-deep": ("sizes that are lists, 30 deep",
                        lambda table: _filled(table, "size", _nested(30))),
    "index-no-rows": ("no row at all", lambda table: table.slice(0, 0)),
}  # fmt: skip
for _kind, (_what, _change_table) in TABLES.items():
    INDICES.add(_kind, _what, INDEX, partial(_table, change=_change_table))


@INDICES.fault(INDEX)
def index_of_three_million_rows(victim: Victim) -> None:
    """three million rows in a few kilobytes"""
    _table(victim, lambda table: _wide(table.slice(0, 1), 3_000_000))


@INDICES.fault(INDEX)
def index_of_as_many_rows_as_counted(victim: Victim) -> None:
    """three million rows in a few kilobytes, and as many samples by the manifest"""
    _table(victim, lambda table: _wide(table.slice(0, 1), 3_000_000))
    victim.manifest["shards"][0]["samples"] = 3_000_000 - sum(
        record["samples"] for record in victim.manifest["shards"][1:]
    )
    victim.manifest["counts"] |= {"written": 3_000_000, "input": 3_000_001}


@INDICES.fault(INDEX)
def index_group_of_more_rows(victim: Victim) -> None:
    """a footer that says six rows, over a group that says three million"""

    def write() -> None:
        victim.write_index(
            _wide(victim.read_index().slice(0, 1), 3_000_000), row_group_size=3_000_000
        )
        path = victim.folder / NAME
        path.write_bytes(with_footer_rows(path.read_bytes(), rows=6, instead_of=3_000_000))
        victim.seal_index()

    victim.loose(write)


@INDICES.fault(INDEX)
def index_of_200_mb(victim: Victim) -> None:
    """a caption of 200 MB, packed into a few kilobytes"""
    _table(victim, lambda table: _filled(table, "caption", "x" * 200_000_000, rows=1))


def with_footer_rows(data: bytes, *, rows: int, instead_of: int) -> bytes:
    """A Parquet file whose footer says other rows than its groups; as many bytes as before."""
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = data[start:]
    old = _varint(instead_of)
    new = bytearray(_varint(rows))
    while len(new) < len(old):
        new[-1] |= 0x80  # a number may go on with zeros
        new.append(0)
    assert old in footer
    return data[:start] + footer.replace(old, bytes(new), 1)


def _varint(number: int) -> bytes:
    """As Thrift writes a number that is not negative."""
    rest, found = number << 1, bytearray()
    while rest > 0x7F:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*found, rest])


def _wide(table: pa.Table, rows: int) -> pa.Table:
    """The same row that often; nested columns are left to a single null run."""
    columns = {
        name: pa.repeat(table[name][0], rows)
        if not pa.types.is_nested(table[name].type)
        else pa.nulls(rows, table[name].type)
        for name in table.column_names
    }
    return pa.table(columns, schema=table.schema)


def _row(victim: Victim, **new: Any) -> None:
    victim.edit_row(**new)


PLACES: dict[str, tuple[str, dict[str, Any], Part]] = {
    "row-offset-negative": ("an offset of -512", {"offset": -512}, _ROW),
    "row-offset-odd": ("an offset within a block", {"offset": 519}, _ROW),
    "row-offset-behind": ("an offset behind the shard", {"offset": 1 << 40}, _ROW),
    "row-size-2-to-the-62": ("a size of 2^62 bytes", {"size": 1 << 62}, _ROW),
    "row-size-40-gb": ("a size of 40 GB", {"size": 40 << 30}, _ROW),
    "row-size-zero": ("a size of nothing", {"size": 0}, _ROW),
    "row-size-negative": ("a size of -512", {"size": -512}, _ROW),
    "row-shard-null": ("no shard and no offset", {"shard": None, "offset": None}, INDEX),
    "row-shard-passwd": ("/etc/passwd in place of the shard",
                         {"shard": "../../../../../etc/passwd", "offset": 0, "size": 512}, _ROW),
    "row-shard-nul": ("a shard whose name has a NUL", {"shard": "a\0b"}, _ROW),
    "row-shard-address": ("a shard at an address", {"shard": "http://127.0.0.1/x.tar"}, _ROW),
}  # fmt: skip
for _kind, (_what, _new, _part) in PLACES.items():
    INDICES.add(_kind, _what, _part, partial(_row, **_new))

_SEEKING = Part(
    frozenset({"validate", "preview", "stats", "iterate", "records", "encode", "train"}),
    (SHARD, SAMPLE),
)
"""Those that seek to a sample; the others walk along the shard."""


@INDICES.fault(_SEEKING)
def row_of_another_place(victim: Victim) -> None:
    """the place of another sample"""

    def swap(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        other = next(row for row in rows if row["id"] == OTHER)
        place = {"offset": other["offset"], "size": other["size"]}
        return [row | place if row["id"] == SAMPLE else row for row in rows]

    victim.edit_rows = swap


@INDICES.fault(INDEX)
def row_missing(victim: Victim) -> None:
    """a sample without a row"""
    victim.edit_rows = lambda rows: [row for row in rows if row["id"] != SAMPLE]


@INDICES.fault(INDEX)
def row_of_no_sample(victim: Victim) -> None:
    """a row without a sample"""
    victim.edit_rows = lambda rows: [*rows, rows[0] | {"id": "basic-99999999"}]


@INDICES.fault(INDEX.naming(OTHER))
def row_twice(victim: Victim) -> None:
    """a row of one sample in place of another's"""
    victim.edit_rows = lambda rows: [
        next(one for one in rows if one["id"] == OTHER) if row["id"] == SAMPLE else row
        for row in rows
    ]


_PLANNED = Part(frozenset({"validate", "train"}), (SAMPLE,))
"""A training is planned with the index alone."""
_RECORDS = [{"box": [0, 0, 40, 36], "area": 100, "face": False, "references": []}]
_VIEW = {
    "kind": "crop", "width": 40, "height": 36, "subject_box": [0, 0, 9, 9], "aligned": False,
}  # fmt: skip


def _records(**view: Any) -> list[dict[str, Any]]:
    return [_RECORDS[0] | {"references": [_VIEW | view]}]


PLANS: dict[str, tuple[str, dict[str, Any]]] = {
    "row-width-zero": ("a target of 0 x 0 pixels", {"width": 0, "height": 0}),
    "row-width-huge": ("a target of 2^40 pixels a side", {"width": 1 << 40, "height": 1 << 40}),
    "row-height-negative": ("a target of negative height", {"height": -64}),
    "row-width-null": ("no width", {"width": None}),
    "row-caption-null": ("no caption", {"caption": None}),
    "row-caption-1-mb": ("a caption of 1 MB", {"caption": "x" * 10**6}),
    "row-reference-kind": ("a reference of an unknown kind",
                           {"instance_records": _records(kind="../evil")}),
    "row-reference-kind-null": ("a reference without a kind",
                                {"instance_records": _records(kind=None)}),
    "row-reference-huge": ("a reference of 2^31 pixels a side",
                           {"instance_records": _records(width=2**31 - 1, height=1)}),
    "row-reference-zero": ("a reference of 0 x 0 pixels",
                           {"instance_records": _records(width=0, height=0)}),
    "row-reference-box-null": ("a reference without a subject box",
                               {"instance_records": _records(subject_box=None)}),
    "row-instance-box-null": ("an instance without a box",
                              {"instance_records": [_RECORDS[0] | {"box": None}]}),
    "row-instance-null": ("an instance that is null", {"instance_records": [None]}),
    "row-references-null": ("references that are null",
                            {"instance_records": [_RECORDS[0] | {"references": None}]}),
}  # fmt: skip
for _kind, (_what, _new) in PLANS.items():
    INDICES.add(_kind, _what, _PLANNED, partial(_row, **_new))


_SUBSETS = Part(frozenset({"validate", "refilter", "split", "merge", "train"}), (SAMPLE,))


@INDICES.fault(_SUBSETS)
def row_subset_null(victim: Victim) -> None:
    """no subset"""
    victim.edit_row(subset=None)


@INDICES.fault(_SUBSETS)
def row_subset_path(victim: Victim) -> None:
    """a subset that leads out of the folder"""
    victim.edit_row(subset="../../basic")


@INDICES.fault(Part(frozenset({"validate", "refilter", "split", "merge"}), ("subset",)))
def row_subset_other(victim: Victim) -> None:
    """all samples are said to be of another subset"""
    victim.edit_rows = lambda rows: [row | {"subset": "flexible"} for row in rows]


@INDICES.fault(ONLY_VALIDATE.naming(SHARD, SAMPLE))
def row_scores(victim: Victim) -> None:
    """scores that are not those of the JSON"""
    victim.edit_row(min_phrase_similarity=0.9)


@INDICES.fault(ONLY_VALIDATE.naming(SHARD, SAMPLE))
def row_seed(victim: Victim) -> None:
    """a seed that is not the JSON's"""
    victim.edit_row(seed=7)


@INDICES.fault(NOTHING, legal="More columns are the business of who has added them.")
def index_more_columns(victim: Victim) -> None:
    """a column that imig does not know"""
    _table(victim, lambda table: table.append_column("mine", pa.array([1] * len(table))))

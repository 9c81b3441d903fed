"""Parquet tables that say they have more than their size allows are not decoded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.hostile.index_faults import with_footer_rows

from imig.errors import DataError
from imig.shards.parquet import footer_rows, open_parquet

MANY = 2_000_000


def test_a_table_as_imig_writes_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    rows = 100_000
    pq.write_table(
        pa.table({"id": [f"basic-{n:08}" for n in range(rows)], "stage": ["filter"] * rows}),
        path,
        compression="zstd",
    )
    assert footer_rows(path) == rows


@pytest.mark.parametrize(
    ("table", "what"),
    [
        pytest.param(lambda: {"id": pa.nulls(MANY)}, f"{MANY:,} rows", id="rows"),
        pytest.param(
            lambda: {"lists": pa.ListArray.from_arrays([0, 5 * MANY], pa.nulls(5 * MANY))},
            "values a column",
            id="values",
        ),
        pytest.param(lambda: {"id": ["x" * 80_000_000]}, "bytes, unpacked,", id="bytes"),
    ],
)
def test_what_a_file_cannot_hold_is_not_read(
    tmp_path: Path, table: Callable[[], Any], what: str
) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table(table()), path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match=f"{what} in a file of"):
        footer_rows(path)


def test_a_footer_agrees_with_its_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"id": pa.nulls(MANY)}), path, row_group_size=MANY)
    path.write_bytes(with_footer_rows(path.read_bytes(), rows=6, instead_of=MANY))
    with (
        pytest.raises(DataError, match=f"its footer has 6 rows, its groups {MANY}"),
        open_parquet(path),
    ):
        pass

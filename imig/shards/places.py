"""Whether an index can be believed about where samples lie, before any byte is read there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from imig.errors import DataError
from imig.schema import ShardRecord
from imig.shards.tar import BLOCK

if TYPE_CHECKING:
    import pyarrow as pa


CURE: Final = "`imig validate` lists everything that is damaged; building again makes a new index."


def require_values(table: pa.Table, *columns: str, index: str) -> None:
    """Raise DataError when a row lacks one of these columns; `index` is its place, for messages."""
    for column in columns:
        if table[column].null_count:
            row = table[column].is_null().to_pylist().index(True)
            sample = f": sample {table['id'][row].as_py()}" if "id" in table.column_names else ""
            raise DataError(f"{index} has rows without {column}{sample}", cure=CURE)


def check_places(table: pa.Table, shards: Sequence[ShardRecord], *, index: str) -> None:
    """Every row lies within a shard of the manifest, and each sample has one row.

    Parameters
    ----------
    table:
        Columns `id`, `shard`, `offset` and `size` of the index.
    index:
        Its place, for messages.

    Raises
    ------
    DataError
        When the index names another file, or bytes that the shard does not have.
    """
    require_values(table, "id", "shard", "offset", "size", index=index)
    ids = table["id"].to_pylist()
    if len(set(ids)) < len(ids):
        twice = next(one for one, times in Counter(ids).items() if times > 1)
        raise DataError(f"{index} has sample {twice} twice", cure=CURE)
    lengths = {record.name: record.bytes for record in shards}
    names = table["shard"].to_pylist()
    length = np.array([lengths.get(name, -1) for name in names], dtype=np.int64)
    offset, size = (table[column].to_numpy() for column in ("offset", "size"))
    good = (offset >= 0) & (size > 0) & (offset % BLOCK == 0) & (size % BLOCK == 0)
    # Differences, for sums of what is stored may overflow.
    good &= (offset <= length) & (size <= length - np.minimum(offset, length))
    if good.all():
        return
    row = int(np.flatnonzero(~good)[0])
    sample, name = table["id"][row].as_py(), names[row]
    where = f"bytes {offset[row]} to {int(offset[row]) + int(size[row])} of {name!r}"
    what = (
        f"which has {lengths[name]} bytes, in blocks of {BLOCK}"
        if name in lengths
        else "which the manifest does not list"
    )
    raise DataError(f"{index}: sample {sample} lies at {where}, {what}", cure=CURE)

"""Whether the index can be planned with: a damaged or hostile one says things that no scene has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, get_args

import numpy as np
from numpy.typing import NDArray

from imig.errors import DataError
from imig.schema import MAX_CAPTION, MAX_SIDE, Subset
from imig.shards.index import INSTANCE_RECORDS
from imig.shards.places import CURE, require_values
from imig.training.catalogue_columns import KINDS

if TYPE_CHECKING:
    import pyarrow as pa

_BOX: Final = 4


def check_plannable(table: pa.Table, *, index: str) -> None:
    """Every value that a training is planned with is one that the schema of a scene allows.

    Parameters
    ----------
    table:
        Columns `id`, `subset`, `width`, `height`, `caption` and `instance_records` of the index.
    index:
        Its place, for messages.

    Raises
    ------
    DataError
        Names the first sample whose row says something else.
    """
    require_values(table, "subset", "width", "height", "caption", index=index)
    for what, bad in _doubts(table):
        if bad.any():
            sample = table["id"][int(np.flatnonzero(bad)[0])].as_py()
            raise DataError(f"{index}: sample {sample} has {what}", cure=CURE)


def _doubts(table: pa.Table) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """What would be wrong, and (rows,) whether it is. Each is asked when the one before is not."""
    import pyarrow.compute as pc

    yield "an unknown subset", ~_is_in(table["subset"], get_args(Subset))
    for side in ("width", "height"):
        yield f"a {side} that no picture has", ~_is_side(table[side])
    yield "too long a caption", pc.utf8_length(table["caption"]).to_numpy() > MAX_CAPTION
    lists = table[INSTANCE_RECORDS].combine_chunks()
    instances = lists.flatten()
    scene = pc.list_parent_indices(lists).to_numpy()

    def rows_of(bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
        rows = np.zeros(len(table), dtype=np.bool_)
        rows[scene[bad]] = True
        return rows

    yield "an instance without values", rows_of(_lacks(instances, "box", "face", "references"))
    yield "a box that is none", rows_of(~_are_boxes(pc.struct_field(instances, "box")))
    nested = pc.struct_field(instances, "references")
    references = nested.flatten()
    scene = scene[pc.list_parent_indices(nested).to_numpy()]
    names = ("kind", "width", "height", "subject_box", "aligned")
    yield "a reference without values", rows_of(_lacks(references, *names))
    kind, width, height, box = (pc.struct_field(references, name) for name in names[:4])
    yield "a reference of an unknown kind", rows_of(~_is_in(kind, KINDS))
    yield (
        "a reference of a size that no picture has",
        rows_of(~(_is_side(width) & _is_side(height))),
    )
    yield "a subject box that is none", rows_of(~_are_boxes(box))


def _is_in(values: pa.Array | pa.ChunkedArray, known: tuple[str, ...]) -> NDArray[np.bool_]:
    import pyarrow as pa
    import pyarrow.compute as pc

    return _booleans(pc.is_in(values, value_set=pa.array(known)))


def _is_side(values: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    sides = values.to_numpy(zero_copy_only=False)
    return np.asarray((sides > 0) & (sides <= MAX_SIDE), dtype=np.bool_)


def _lacks(structs: pa.StructArray, *names: str) -> NDArray[np.bool_]:
    """Whether it is null, or one of these fields is."""
    import pyarrow.compute as pc

    lacking = _booleans(structs.is_null())
    for name in names:
        lacking = lacking | _booleans(pc.struct_field(structs, name).is_null())
    return lacking


def _are_boxes(lists: pa.FixedSizeListArray) -> NDArray[np.bool_]:
    """``(x1, y1, x2, y2)`` with an area, each coordinate one that a scene can have."""
    flat = lists.flatten()
    if flat.null_count:
        flat = flat.fill_null(-1)
    box = np.asarray(flat.to_numpy(zero_copy_only=False), dtype=np.int64).reshape(-1, _BOX)
    ordered = (box[:, 0] < box[:, 2]) & (box[:, 1] < box[:, 3])
    return np.asarray(ordered & (box >= 0).all(axis=1) & (box <= MAX_SIDE).all(axis=1), np.bool_)


def _booleans(values: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(values.to_pandas(), dtype=np.bool_)

"""`rejects.parquet` and `quarantine.parquet`: the scenes that are not in the shards, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from imig.errors import DataError
from imig.schema import Quarantine, Reject, first_problem
from imig.shards.index import for_arrow, write_records
from imig.shards.names import QUARANTINE_NAME, REJECTS_NAME

if TYPE_CHECKING:
    import pyarrow as pa

_REJECT_COLUMNS = ("id", "stage", "reason", "figures", "path")
_QUARANTINE_COLUMNS = ("id", "stage", "error", "traceback", "path")


def write_tables(
    folder: Path, *, rejects: Sequence[Reject], quarantined: Sequence[Quarantine]
) -> None:
    """Write both tables, rows in the order given; same rows, same bytes."""
    write_records(
        folder / REJECTS_NAME,
        [
            # As JSON: every reason has figures of its own.
            {**one.model_dump(), "figures": json.dumps(one.figures, ensure_ascii=False)}
            for one in rejects
        ],
        schema=_texts(_REJECT_COLUMNS),
    )
    write_records(
        folder / QUARANTINE_NAME,
        [one.model_dump() for one in quarantined],
        schema=_texts(_QUARANTINE_COLUMNS),
    )


def read_rejects(folder: Path) -> list[Reject]:
    """The rejects of a dataset folder; none where it has no such table.

    Raises
    ------
    DataError
        When the table is damaged.
    """
    path = folder / REJECTS_NAME
    try:
        return [
            Reject(**{**row, "figures": json.loads(row["figures"])})
            for row in _read(path, _REJECT_COLUMNS)
        ]
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {_first_line(error)}", cure=_CURE) from error


def read_quarantine(folder: Path) -> list[Quarantine]:
    """The quarantined scenes of a dataset folder; as `read_rejects`."""
    path = folder / QUARANTINE_NAME
    try:
        return [Quarantine(**row) for row in _read(path, _QUARANTINE_COLUMNS)]
    except ValidationError as error:
        raise DataError(f"cannot read {path}: {_first_line(error)}", cure=_CURE) from error


_CURE = "`imig validate` lists everything that is damaged."


def _read(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        return []
    try:
        with for_arrow(path, "rb") as source:
            there = set(pq.read_schema(source).names)
            # `path` is younger than the other columns.
            wanted = [one for one in columns if one in there or one != "path"]
            rows: list[dict[str, Any]] = pq.read_table(source, columns=wanted).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"cannot read {path}: {error}", cure=_CURE) from error
    return rows


def _first_line(error: Exception) -> str:
    return first_problem(error) if isinstance(error, ValidationError) else str(error)


def _texts(columns: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([pa.field(name, pa.string()) for name in columns])

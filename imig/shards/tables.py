"""`rejects.parquet` and `quarantine.parquet`: the scenes that are not in the shards, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from imig.errors import VALIDATE, DataError
from imig.schema import Quarantine, Reject, first_problem
from imig.shards.folders import Folder, LocalFolder
from imig.shards.index import write_records
from imig.shards.manifest import MANIFEST_NAME
from imig.shards.names import QUARANTINE_NAME, REJECTS_NAME
from imig.shards.parquet import open_parquet

if TYPE_CHECKING:
    import pyarrow as pa

_REJECT_COLUMNS = ("id", "stage", "reason", "figures", "path")
_QUARANTINE_COLUMNS = ("id", "stage", "error", "traceback", "path", "fault")
_YOUNGER = ("path", "fault")
"""Tables of older versions lack these."""


def write_tables(
    folder: Path, *, rejects: Sequence[Reject], quarantined: Sequence[Quarantine]
) -> None:
    """Write both tables, rows in the order given; same rows, same bytes."""
    write_records(
        folder / REJECTS_NAME,
        (
            # As JSON: every reason has figures of its own.
            {**one.model_dump(), "figures": json.dumps(one.figures, ensure_ascii=False)}
            for one in rejects
        ),
        schema=_texts(_REJECT_COLUMNS),
    )
    write_records(
        folder / QUARANTINE_NAME,
        (one.model_dump() for one in quarantined),
        schema=_texts(_QUARANTINE_COLUMNS),
    )


def read_rejects(folder: Path | Folder, *, counted: int | None = None) -> list[Reject]:
    """The rejects of a dataset, also a remote one's.

    Parameters
    ----------
    counted:
        How many the manifest says there are; None: any number. No table has no row.

    Raises
    ------
    DataError
        When the table is damaged, or has another number of rows.
    """
    folder = _folder(folder)
    rows = _read(folder, REJECTS_NAME, _REJECT_COLUMNS, counted=counted)
    try:
        return [Reject(**{**row, "figures": json.loads(row["figures"])}) for row in rows]
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        place = folder.place(REJECTS_NAME)
        raise DataError(f"cannot read {place}: {_first_line(error)}", cure=VALIDATE) from error


def read_quarantine(folder: Path | Folder, *, counted: int | None = None) -> list[Quarantine]:
    """The quarantined scenes of a dataset folder; as `read_rejects`."""
    folder = _folder(folder)
    rows = _read(folder, QUARANTINE_NAME, _QUARANTINE_COLUMNS, counted=counted)
    try:
        return [Quarantine(**row) for row in rows]
    except ValidationError as error:
        place = folder.place(QUARANTINE_NAME)
        raise DataError(f"cannot read {place}: {_first_line(error)}", cure=VALIDATE) from error


def _folder(folder: Path | Folder) -> Folder:
    return LocalFolder(folder) if isinstance(folder, Path) else folder


def _read(
    folder: Folder, name: str, columns: Sequence[str], *, counted: int | None
) -> list[dict[str, Any]]:
    import pyarrow as pa

    path, data = folder.place(name), folder.find(name)
    if data is None:
        _require_count(path, 0, counted)
        return []
    try:
        with open_parquet(path, data=data) as file:
            _require_count(path, file.metadata.num_rows, counted)
            there = set(file.schema_arrow.names)
            wanted = [one for one in columns if one in there or one not in _YOUNGER]
            if lacking := set(wanted) - there:
                raise DataError(
                    f"{path} lacks the columns {', '.join(sorted(lacking))}", cure=VALIDATE
                )
            rows: list[dict[str, Any]] = file.read(wanted).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"cannot read {path}: {error}", cure=VALIDATE) from error
    return rows


def _require_count(path: str, rows: int, counted: int | None) -> None:
    if counted is not None and rows != counted:
        raise DataError(f"{path} has {rows} rows, {MANIFEST_NAME} counts {counted}", cure=VALIDATE)


def _first_line(error: Exception) -> str:
    return first_problem(error) if isinstance(error, ValidationError) else str(error)


def _texts(columns: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([pa.field(name, pa.string()) for name in columns])

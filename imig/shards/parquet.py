"""Parquet tables of datasets, opened where their size allows what they say they have.

A run of equal values takes a few bytes however long it is: a file of a kilobyte can stand for
billions of rows. What its footer says is compared with its size before anything is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from imig.errors import VALIDATE, DataError
from imig.regular_file import open_regular_file

if TYPE_CHECKING:
    import pyarrow.parquet as pq

ROWS_A_BYTE: Final = 16
"""Rows that a byte may stand for. Every row has an id of its own: a million of them, numbered
through and with all else equal, take 590 kB."""
VALUES_A_BYTE: Final = 1000
"""Values of a nested column: lists of equal values take fewer bytes."""
BYTES_A_BYTE: Final = 1000
"""Bytes that a byte may stand for: of the same million rows 31."""
FEW_VALUES: Final = 1 << 16
FEW_BYTES: Final = 1 << 26
"""As many are always read: they do no harm."""


@contextmanager
def for_arrow(path: Path | str, mode: Literal["rb", "wb"]) -> Iterator[Any]:
    """What pyarrow takes for a path: itself, or an open file where its name is not UTF-8.

    Raises OSError where something that is no file would be read: pyarrow waits for a pipe's writer.
    """
    if mode == "rb":
        open_regular_file(path).close()
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with open(path, mode) as file:
            yield file
    else:
        yield path


@contextmanager
def open_parquet(path: Path | str, *, data: bytes | None = None) -> Iterator[pq.ParquetFile]:
    """A Parquet file whose footer has been read and compared with its size.

    Parameters
    ----------
    path:
        Only for messages where `data` is given.
    data:
        Its bytes, where they are read already.

    Raises
    ------
    DataError
        When it says it has more than its size allows.
    OSError, ValueError, pyarrow.ArrowException
        When it cannot be read. ValueError: damaged column names that are no UTF-8.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with for_arrow(path, "rb") if data is None else nullcontext(pa.BufferReader(data)) as source:
        file = pq.ParquetFile(source)
        size = Path(path).stat().st_size if data is None else len(data)
        _require_plausible(file.metadata, size=size, path=str(path))
        yield file


def footer_rows(path: Path) -> int:
    """How many rows a file has. Raises DataError when it cannot be read, or that cannot be true."""
    import pyarrow as pa

    try:
        with open_parquet(path) as file:
            rows: int = file.metadata.num_rows
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}", cure=VALIDATE) from error
    return rows


def _require_plausible(footer: pq.FileMetaData, *, size: int, path: str) -> None:
    """Raise DataError where rows, values of a column or bytes are too many for the file's size."""
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    rows = sum(group.num_rows for group in groups)
    if rows != footer.num_rows:
        message = f"{path} is damaged: its footer has {footer.num_rows} rows, its groups {rows}"
        raise DataError(message, cure=VALIDATE)
    values, unpacked = 0, 0
    for number in range(footer.num_columns):
        chunks = [group.column(number) for group in groups]
        values = max(values, sum(chunk.num_values for chunk in chunks))
        unpacked += sum(chunk.total_uncompressed_size for chunk in chunks)
    for what, count, most in (
        ("rows", rows, FEW_VALUES + ROWS_A_BYTE * size),
        ("values a column", values, FEW_VALUES + VALUES_A_BYTE * size),
        ("bytes, unpacked,", unpacked, FEW_BYTES + BYTES_A_BYTE * size),
    ):
        if count > most:
            message = (
                f"{path} is no table of a dataset: {count:,} {what} in a file of {size:,} bytes"
            )
            raise DataError(message, cure=VALIDATE)

"""`index.parquet`: one row a sample, for random access and for statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imig.errors import DataError
from imig.schema import Scene, scene_from_json
from imig.shards.atomic import atomic_write
from imig.shards.writer import JSON_MEMBER, read_tar

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

INDEX_NAME = "index.parquet"
ADDED_COLUMNS = frozenset({"preference", "watermark", "perceptual_hash", "min_dino_similarity"})
"""Indices that were written before these were recorded lack them; they read as null."""


@dataclass(frozen=True)
class IndexRow:
    """A sample in the index; the columns of `index.parquet` in their order.

    Scores are null where nothing was computed.
    """

    id: str
    subset: str
    style: str | None
    shard: str
    offset: int
    """Byte in the shard where the sample's first tar header starts."""
    size: int
    """Bytes of all its members, headers and padding included."""
    width: int
    height: int
    instances: int
    references: int
    caption: str
    phrases: list[str]
    seed: int
    caption_similarity: float | None
    aesthetics: float | None
    preference: float | None
    watermark: float | None
    perceptual_hash: str | None
    sharpness: float | None
    coverage: float | None
    min_phrase_similarity: float | None
    mean_phrase_similarity: float | None
    min_phrase_margin: float | None
    min_dino_similarity: float | None
    """References beside their instance in the target."""
    mean_dino_similarity: float | None
    mean_clip_similarity: float | None
    min_grounding_score: float | None


def scene_to_row(scene: Scene, *, shard: str, offset: int, size: int) -> IndexRow:
    """The index row of a scene that lies at `offset` of the shard with that file name."""
    instances = scene.instances
    references = [reference for one in instances for reference in one.references]
    dino = [one.similarity.dino for one in references]
    similarities = [one.scores.phrase_similarity for one in instances]
    return IndexRow(
        id=scene.id,
        subset=scene.subset,
        style=scene.style,
        shard=shard,
        offset=offset,
        size=size,
        width=scene.width,
        height=scene.height,
        instances=len(instances),
        references=len(references),
        caption=scene.caption,
        phrases=[one.phrase for one in instances],
        seed=scene.seed,
        caption_similarity=scene.scores.caption_similarity,
        aesthetics=scene.scores.aesthetics,
        preference=scene.scores.preference,
        watermark=scene.scores.watermark,
        perceptual_hash=scene.scores.perceptual_hash,
        sharpness=scene.scores.sharpness,
        coverage=scene.scores.coverage,
        min_phrase_similarity=_over_known(min, similarities),
        mean_phrase_similarity=_over_known(_mean, similarities),
        min_phrase_margin=_over_known(min, [one.scores.phrase_margin for one in instances]),
        min_dino_similarity=_over_known(min, dino),
        mean_dino_similarity=_over_known(_mean, dino),
        mean_clip_similarity=_over_known(_mean, [one.similarity.clip for one in references]),
        min_grounding_score=_over_known(
            min, [None if one.grounding is None else one.grounding.score for one in instances]
        ),
    )


def shard_to_rows(path: Path) -> list[IndexRow]:
    """The index rows of a finished shard, read from its own bytes.

    Raises
    ------
    DataError
        When the shard is damaged.
    """
    return [
        scene_to_row(
            scene_from_json(files[JSON_MEMBER]),
            shard=path.name,
            offset=span.offset,
            size=span.size,
        )
        for span, files in read_tar(path)
    ]


@cache
def index_schema() -> pa.Schema:
    """The fixed types of `index.parquet`, the same for an empty dataset."""
    import pyarrow as pa

    types = {
        "str": pa.string(),
        "str | None": pa.string(),
        "int": pa.int64(),
        "float | None": pa.float64(),
        "list[str]": pa.list_(pa.string()),
    }
    # The annotations are strings (`from __future__ import annotations`).
    return pa.schema([pa.field(one.name, types[str(one.type)]) for one in fields(IndexRow)])


def write_index(path: Path, rows: Iterable[IndexRow]) -> None:
    """Write `index.parquet`, rows in the order given; same rows, same bytes."""
    write_records(path, [asdict(row) for row in rows], schema=index_schema())


def write_records(path: Path, records: Sequence[dict[str, Any]], *, schema: pa.Schema) -> None:
    """Write a parquet table with fixed column types, atomically; zstd-compressed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(list(records), schema=schema)
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_index_table(path: Path | str, *, data: bytes | None = None) -> pa.Table:
    """The index as a pyarrow table.

    Parameters
    ----------
    path:
        Its file; only for messages where `data` is given.
    data:
        Its bytes, where they are read already.

    Raises
    ------
    DataError
        When the file is missing, is damaged or no parquet, or lacks columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    cure = "`imig validate` says what else is damaged; building again makes a new index."
    try:
        source = path if data is None else pa.BufferReader(data)
        table = pq.read_table(source, partitioning=None)
        missing = [name for name in index_schema().names if name not in table.column_names]
        for name in ADDED_COLUMNS.intersection(missing):
            nulls = pa.nulls(table.num_rows, index_schema().field(name).type)
            table = table.append_column(name, nulls)
            missing.remove(name)
        if missing:
            raise DataError(f"the index {path} lacks the columns {', '.join(missing)}", cure=cure)
        table = table.select(index_schema().names).cast(index_schema())
        # Damaged bytes can also end up in a string that is no UTF-8.
        table.validate(full=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        # ValueError: damaged column names that are no UTF-8.
        raise DataError(f"cannot read the index {path}: {error}", cure=cure) from error
    return table


def absent_columns(path: Path) -> frozenset[str]:
    """Which of `ADDED_COLUMNS` a readable index does not have."""
    import pyarrow.parquet as pq

    return ADDED_COLUMNS.difference(pq.read_schema(path).names)


def read_index(path: Path) -> pd.DataFrame:
    """The index as a pandas frame; raises as `read_index_table` does."""
    frame: pd.DataFrame = read_index_table(path).to_pandas()
    return frame


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _over_known(
    function: Callable[[Sequence[float]], float], values: Iterable[float | None]
) -> float | None:
    known = [value for value in values if value is not None]
    return function(known) if known else None

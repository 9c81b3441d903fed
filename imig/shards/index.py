"""`index.parquet`: one row a sample, for random access and for statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from imig.errors import DataError
from imig.schema import INSTANCE_FIGURES, Scene, SceneScores, scene_from_json
from imig.shards.atomic import atomic_write
from imig.shards.parquet import for_arrow, open_parquet
from imig.shards.writer import JSON_MEMBER, read_tar

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_NAME = "index.parquet"
ROW_GROUP: Final = 20_000
"""Rows of a table that are written together: Python's objects of more take gigabytes."""
INSTANCE_RECORDS = "instance_records"
_FIRST_COLUMNS: Final = frozenset(
    {
        "id", "subset", "style", "shard", "offset", "size", "width", "height", "instances",
        "references", "caption", "phrases", "seed", "caption_similarity", "aesthetics", "sharpness",
        "coverage", "min_phrase_similarity", "mean_phrase_similarity", "min_phrase_margin",
        "mean_dino_similarity", "mean_clip_similarity", "min_grounding_score",
    }
)  # fmt: skip
"""What the first indices had, and every index must have.

A later column needs no new version of the schema: what readers of today look for in an index of
yesterday is null, and readers of yesterday do not look for it.
"""


@dataclass(frozen=True)
class IndexedReference:
    """What a trainer plans with, of one view."""

    kind: str
    width: int
    height: int
    subject_box: list[int]
    aligned: bool
    """Whether it says where the face is in an aligned picture."""


@dataclass(frozen=True)
class IndexedInstance:
    """What a trainer plans with, of one instance, so that it need not read every scene's JSON."""

    box: list[int]
    area: int | None
    face: bool
    """Whether the target's face is known."""
    references: list[IndexedReference]


@dataclass(frozen=True)
class IndexRow:
    """A sample in the index; the columns of `index.parquet` in their order."""

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
    scores: dict[str, float | str | None]
    """A column each, as `imig.schema.scores` declares them: first those of `SceneScores`, then of
    the instances the smallest or the mean. Null where nothing was computed."""
    min_dino_similarity: float | None
    """References beside their instance in the target."""
    mean_dino_similarity: float | None
    mean_clip_similarity: float | None
    min_grounding_score: float | None
    instance_records: list[IndexedInstance]
    source_kind: str | None = None
    licence: str | None = None
    """Of the source's picture, where somebody has stated it."""
    models: list[str] = field(default_factory=list)
    """Those that the scene's records name, ``family:weights@revision``, each once, sorted."""


def scene_to_row(scene: Scene, *, shard: str, offset: int, size: int) -> IndexRow:
    """The index row of a scene that lies at `offset` of the shard with that file name."""
    instances = scene.instances
    references = [reference for one in instances for reference in one.references]
    dino = [one.similarity.dino for one in references]
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
        scores=_scene_to_scores(scene),
        min_dino_similarity=_over_known(min, dino),
        mean_dino_similarity=_over_known(_mean, dino),
        mean_clip_similarity=_over_known(_mean, [one.similarity.clip for one in references]),
        min_grounding_score=_over_known(
            min, [None if one.grounding is None else one.grounding.score for one in instances]
        ),
        instance_records=scene_to_instance_records(scene),
        source_kind=scene.source.kind,
        licence=scene.source.licence,
        models=sorted(_scene_to_models(scene)),
    )


def _scene_to_models(scene: Scene) -> set[str]:
    """The models of pictures, captions, boxes, masks and judgements."""
    references = [reference for one in scene.instances for reference in one.references]
    found = {scene.source.model, scene.caption_model}
    detections = [(one.grounding, one.segmentation) for one in scene.instances]
    detections += [(one.grounding, one.segmentation) for one in references]
    found.update(one.model for pair in detections for one in pair if one is not None)
    for reference in references:
        records = (reference.edit, reference.drawing, reference.agreement)
        found.update(one.model for one in records if one is not None)
    return {one for one in found if one is not None}


def _scene_to_scores(scene: Scene) -> dict[str, float | str | None]:
    scores = {name: getattr(scene.scores, name) for name in _scene_columns()}
    for figure in INSTANCE_FIGURES:
        known = [figure.of(one.scores) for one in scene.instances]
        for how in figure.indexed:
            scores[f"{how}_{figure.name}"] = _over_known(min if how == "min" else _mean, known)
    return scores


@cache
def _scene_columns() -> tuple[str, ...]:
    return tuple(name for name in SceneScores.model_fields if name != "figures")


def scene_to_instance_records(scene: Scene) -> list[IndexedInstance]:
    """The nested column's value for a scene."""
    return [
        IndexedInstance(
            box=list(instance.box),
            area=instance.area,
            face=instance.face_box is not None,
            references=[
                IndexedReference(
                    kind=one.kind,
                    width=one.width,
                    height=one.height,
                    subject_box=list(one.subject_box),
                    aligned=one.face is not None and one.face.aligned_box is not None,
                )
                for one in instance.references
            ],
        )
        for instance in scene.instances
    ]


def instance_records_to_plain(records: Iterable[IndexedInstance]) -> list[dict[str, Any]]:
    """Plain dictionaries, as pyarrow takes and gives them."""
    # `dataclasses.asdict` copies every value and takes ten times as long.
    return [{**vars(one), "references": [vars(each) for each in one.references]} for one in records]


def plain_to_instance_records(plain: Iterable[dict[str, Any]]) -> list[IndexedInstance]:
    """The other way; TypeError where the index has nulls that no writer of ours writes."""
    return [
        IndexedInstance(
            **{**one, "references": [IndexedReference(**each) for each in one["references"]]}
        )
        for one in plain
    ]


def row_to_plain(row: IndexRow) -> dict[str, Any]:
    """A row as a plain dictionary, as pyarrow takes and gives it."""
    plain = {**vars(row), INSTANCE_RECORDS: instance_records_to_plain(row.instance_records)}
    plain |= plain.pop("scores")
    return plain


def plain_to_row(plain: dict[str, Any]) -> IndexRow:
    """A row of `row_to_plain`, or of `read_index_table` where no column was absent."""
    names = {one.name for one in fields(IndexRow)} - {"scores", INSTANCE_RECORDS}
    return IndexRow(
        **{name: plain[name] for name in names},
        scores={name: plain[name] for name in _score_types()},
        instance_records=plain_to_instance_records(plain[INSTANCE_RECORDS]),
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
        "list[IndexedInstance]": instance_records_type(),
    }
    columns: list[tuple[str, pa.DataType]] = []
    for one in fields(IndexRow):
        if one.name == "scores":
            columns += _score_types().items()
        else:
            # The annotations are strings (`from __future__ import annotations`).
            columns.append((one.name, types[str(one.type)]))
    return pa.schema(columns)


def _score_types() -> dict[str, pa.DataType]:
    import pyarrow as pa

    scene = {
        name: pa.string()
        if SceneScores.model_fields[name].annotation == str | None
        else pa.float64()
        for name in _scene_columns()
    }
    instances = {
        f"{how}_{figure.name}": pa.float64()
        for figure in INSTANCE_FIGURES
        for how in figure.indexed
    }
    return {**scene, **instances}


@cache
def instance_records_type() -> pa.DataType:
    """The type of the nested column."""
    import pyarrow as pa

    box = pa.list_(pa.int32(), 4)
    reference = pa.struct(
        {
            "kind": pa.string(),
            "width": pa.int32(),
            "height": pa.int32(),
            "subject_box": box,
            "aligned": pa.bool_(),
        }
    )
    return pa.list_(
        pa.struct(
            {"box": box, "area": pa.int64(), "face": pa.bool_(), "references": pa.list_(reference)}
        )
    )


def write_index(path: Path, rows: Iterable[IndexRow]) -> None:
    """Write `index.parquet`, rows in the order given; same rows, same bytes."""
    write_records(path, map(row_to_plain, rows), schema=index_schema())


def write_records(path: Path, records: Iterable[dict[str, Any]], *, schema: pa.Schema) -> None:
    """Write a parquet table with fixed column types, atomically; zstd-compressed.

    `ROW_GROUP` rows are in memory at a time.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = iter(records)
    with (
        atomic_write(path) as temporary,
        for_arrow(temporary, "wb") as target,
        pq.ParquetWriter(target, schema, compression="zstd") as writer,
    ):
        first = True
        while (lump := list(islice(stream, ROW_GROUP))) or first:
            writer.write_table(pa.Table.from_pylist(lump, schema=schema))
            first = False


def read_index_table(
    path: Path | str,
    *,
    data: bytes | None = None,
    columns: Sequence[str] | None = None,
    samples: int | None = None,
) -> pa.Table:
    """The index as a pyarrow table.

    Parameters
    ----------
    path:
        Its file; only for messages where `data` is given.
    data:
        Its bytes, where they are read already.
    columns:
        Those that are wanted, None for all; the others are not decoded.
    samples:
        How many rows there must be, whatever the file can stand for.

    Raises
    ------
    DataError
        When the file is missing, is damaged or no parquet, lacks columns, or has more rows
        than its size allows.
    """
    import pyarrow as pa

    cure = "`imig validate` says what else is damaged; building again makes a new index."
    schema = index_schema()
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    try:
        with open_parquet(path, data=data) as file:
            if samples is not None and file.metadata.num_rows != samples:
                raise DataError(
                    f"{path} has {file.metadata.num_rows} rows, but there are {samples} samples",
                    cure=cure,
                )
            missing = set(schema.names).difference(file.schema_arrow.names)
            if lacking := [name for name in schema.names if name in missing & _FIRST_COLUMNS]:
                raise DataError(
                    f"the index {path} lacks the columns {', '.join(lacking)}", cure=cure
                )
            table = file.read([name for name in wanted.names if name not in missing])
        for name in missing.intersection(wanted.names):
            nulls = pa.nulls(file.metadata.num_rows, wanted.field(name).type)
            table = table.append_column(name, nulls)
        table = table.select(wanted.names).cast(wanted)
        # Damaged bytes can also end up in a string that is no UTF-8.
        table.validate(full=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        # ValueError: damaged column names that are no UTF-8.
        raise DataError(f"cannot read the index {path}: {error}", cure=cure) from error
    return table


def absent_columns(path: Path) -> frozenset[str]:
    """Which of the later columns a readable index does not have."""
    import pyarrow.parquet as pq

    with for_arrow(path, "rb") as source:
        return frozenset(index_schema().names).difference(pq.read_schema(source).names)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _over_known(
    function: Callable[[Sequence[float]], float], values: Iterable[float | None]
) -> float | None:
    known = [value for value in values if value is not None]
    return function(known) if known else None

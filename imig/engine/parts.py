"""Parts: what a build keeps of finished blocks until their shard is complete.

A part is a tar with the surviving samples of one block and a record beside it. The record is
written last, so that its presence means that the block is finished. When all blocks of a shard are,
their parts are joined into the shard, their records into one record, and the parts are removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ValidationError

from imig.engine.blocks import Block
from imig.engine.tally import OddityTally, StageTally
from imig.errors import DataError
from imig.schema import Quarantine, Reject, ShardRecord
from imig.shards.atomic import atomic_write_bytes
from imig.shards.index import IndexRow, scene_to_row
from imig.shards.manifest import shard_record
from imig.shards.writer import concatenate_parts, write_tar


class Record(BaseModel):
    """What became of the scenes of a part, a shard, or a whole build."""

    input: int = 0
    rows: list[IndexRow] = []
    """Index rows of the samples, in order; shard and offset are final in a shard's record only."""
    rejects: list[Reject] = []
    quarantined: list[Quarantine] = []
    tallies: dict[str, StageTally] = {}
    oddities: dict[str, OddityTally] = {}
    shard: ShardRecord | None = None
    """The finished shard; null in a part's record, and where no sample survived."""


def write_part(folder: Path, block: Block) -> Record:
    """Write a finished block's tar and record; the record last."""
    tar = part_tar(folder, block.number)
    spans = write_tar(tar, block.samples) if block.samples else []
    record = Record(
        input=block.stop - block.start,
        rows=[
            scene_to_row(sample.scene, shard=tar.name, offset=span.offset, size=span.size)
            for sample, span in zip(block.samples, spans, strict=True)
        ],
        rejects=block.rejects,
        quarantined=block.quarantined,
        tallies=block.tallies,
        oddities=block.oddities,
    )
    write_record(part_record(folder, block.number), record)
    return record


def part_tar(folder: Path, block: int) -> Path:
    return folder / f"{block:08d}.tar"


def part_record(folder: Path, block: int) -> Path:
    return folder / f"{block:08d}.json"


def write_record(path: Path, record: Record) -> None:
    atomic_write_bytes(path, record.model_dump_json().encode())


def read_record(path: Path) -> Record:
    """Read a part's or a shard's record. Raises DataError when it is damaged."""
    try:
        return Record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(
            f"the build's own record {path} cannot be read: {error}",
            cure=f"remove {path} and the .tar beside it, then run the same command again",
        ) from error


def join_parts(folder: Path, blocks: Sequence[int], *, shard: Path, record: Path) -> Record:
    """Join finished blocks into a shard and its record, then remove their parts.

    Safe to be killed anywhere: done again, it writes the same bytes.
    """
    parts = [read_record(part_record(folder, block)) for block in blocks]
    joined = merge_records(parts)
    tars = [part_tar(folder, block) for block, part in zip(blocks, parts, strict=True) if part.rows]
    if tars:
        spans = concatenate_parts(tars, shard)
        joined.rows = [
            replace(row, shard=shard.name, offset=span.offset, size=span.size)
            for row, span in zip(joined.rows, spans, strict=True)
        ]
        joined.shard = shard_record(shard, samples=len(joined.rows))
    write_record(record, joined)
    remove_parts(folder, blocks)
    return joined


def remove_parts(folder: Path, blocks: Iterable[int]) -> None:
    for block in blocks:
        # The record first: a part without a record is unfinished, never the other way round.
        part_record(folder, block).unlink(missing_ok=True)
        part_tar(folder, block).unlink(missing_ok=True)


def merge_records(records: Iterable[Record]) -> Record:
    """One record of several, in their order; `shard` is left out."""
    merged = Record()
    for record in records:
        merged.input += record.input
        merged.rows += record.rows
        merged.rejects += record.rejects
        merged.quarantined += record.quarantined
        for stage, tally in record.tallies.items():
            merged.tallies.setdefault(stage, StageTally()).add(tally)
        for kind, oddity in record.oddities.items():
            merged.oddities.setdefault(kind, OddityTally()).add(oddity)
    return merged

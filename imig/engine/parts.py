"""Parts: what a build keeps of finished blocks until their shard is complete.

A part is a tar with the surviving samples of one block and a record beside it. The record is
written last, so that its presence means that the block is finished. When all blocks of a shard are,
their parts are joined into the shard, their records into one record, and the parts are removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from imig.engine.blocks import Block
from imig.errors import DataError
from imig.output.record import Record, merge_records, read_record, write_record
from imig.shards.index import scene_to_row
from imig.shards.manifest import shard_record
from imig.shards.writer import concatenate_parts, write_tar


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
    )
    write_record(part_record(folder, block.number), record)
    return record


def part_tar(folder: Path, block: int) -> Path:
    return folder / f"{block:08d}.tar"


def part_record(folder: Path, block: int) -> Path:
    return folder / f"{block:08d}.json"


def join_parts(folder: Path, blocks: Sequence[int], *, shard: Path, record: Path) -> Record:
    """Join finished blocks into a shard and its record, then remove their parts.

    Safe to be killed anywhere: done again, it writes the same bytes.
    """
    parts = [read_record(part_record(folder, block)) for block in blocks]
    for block, part in zip(blocks, parts, strict=True):
        _require_tar(folder, block, part)
    joined = merge_records(parts)
    tars = [part_tar(folder, block) for block, part in zip(blocks, parts, strict=True) if part.rows]
    if tars:
        spans = concatenate_parts(tars, shard)
        if [span.id for span in spans] != [row.id for row in joined.rows]:
            shard.unlink()
            raise DataError(
                f"parts of {shard.name} in {folder} hold other samples than their records say",
                cure=f"remove {folder}, and the same command builds what is in it anew",
            )
        joined.rows = [
            replace(row, shard=shard.name, offset=span.offset, size=span.size)
            for row, span in zip(joined.rows, spans, strict=True)
        ]
        joined.shard = shard_record(shard, samples=len(joined.rows))
    write_record(record, joined)
    remove_parts(folder, blocks)
    return joined


def _require_tar(folder: Path, block: int, part: Record) -> None:
    """Raise DataError when the tar of a part is not the one that its record was written for."""
    if not part.rows:
        return
    tar, end = part_tar(folder, block), max(row.offset + row.size for row in part.rows)
    if not tar.is_file() or tar.stat().st_size < end:
        raise DataError(
            f"{tar}, which an earlier run has finished, is missing or too short",
            cure=f"remove {part_record(folder, block)}, and the same command makes it anew",
        )


def remove_parts(folder: Path, blocks: Iterable[int]) -> None:
    for block in blocks:
        # The record first: a part without a record is unfinished, never the other way round.
        part_record(folder, block).unlink(missing_ok=True)
        part_tar(folder, block).unlink(missing_ok=True)

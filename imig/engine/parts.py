"""Parts: what a build keeps of finished blocks until their shard is complete.

A part is a tar with the surviving samples of one block and a record beside it. The record is
written last, so that its presence means that the block is finished. When all blocks of a shard are,
their parts are joined into the shard, their records into one record, and the parts are removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from imig.engine.blocks import Block
from imig.errors import DataError
from imig.output.record import Record, merge_records, read_record, write_record
from imig.schema import ShardRecord
from imig.shards.index import scene_to_row
from imig.shards.manifest import shard_record
from imig.shards.writer import SampleSpan, concatenate_parts, member_names, write_tar
from imig.stores.path import OutputPath, StorePath, local_copy, local_target, size_of

_FETCHED_AT_ONCE: Final = 8
"""Parts of a shard, from a store."""


def write_part(folder: OutputPath, block: Block) -> Record:
    """Write a finished block's tar and record; the record last."""
    tar = part_tar(folder, block.number)
    spans: list[SampleSpan] = []
    written: ShardRecord | None = None
    if block.samples:
        with local_target(tar) as local:
            spans = write_tar(local, block.samples)
            if isinstance(tar, StorePath):
                written = shard_record(local, samples=len(spans))
    record = Record(
        input=block.stop - block.start,
        rows=[
            scene_to_row(sample.scene, shard=tar.name, offset=span.offset, size=span.size)
            for sample, span in zip(block.samples, spans, strict=True)
        ],
        rejects=block.rejects,
        quarantined=block.quarantined,
        tallies=block.tallies,
        shard=written,
    )
    write_record(part_record(folder, block.number), record)
    return record


def part_tar(folder: OutputPath, block: int) -> OutputPath:
    return folder / f"{block:08d}.tar"


def part_record(folder: OutputPath, block: int) -> OutputPath:
    return folder / f"{block:08d}.json"


def join_parts(
    folder: OutputPath, blocks: Sequence[int], *, shard: OutputPath, record: OutputPath
) -> Record:
    """Join finished blocks into a shard and its record, then remove their parts.

    Those of a store are brought here, and must have the bytes that their workers have sent.

    Safe to be killed anywhere: done again, it writes the same bytes.
    """
    parts = [read_record(part_record(folder, block)) for block in blocks]
    for block, part in zip(blocks, parts, strict=True):
        _require_tar(folder, block, part)
    joined = merge_records(parts)
    tars = {
        part_tar(folder, block): part
        for block, part in zip(blocks, parts, strict=True)
        if part.rows
    }
    if tars:
        with ExitStack() as copies, local_target(shard) as target:
            spans = concatenate_parts(_local_tars(tars, copies), target)
            if [span.id for span in spans] != [row.id for row in joined.rows]:
                target.unlink()
                raise DataError(
                    f"parts of {shard.name} in {folder} hold other samples than their records say",
                    cure=f"remove {folder}, and the same command builds what is in it anew",
                )
            joined.rows = [
                replace(row, shard=shard.name, offset=span.offset, size=span.size)
                for row, span in zip(joined.rows, spans, strict=True)
            ]
            joined.shard = shard_record(target, samples=len(joined.rows))
            joined.members = sorted(member_names(target))
    write_record(record, joined)
    remove_parts(folder, blocks)
    return joined


def _local_tars(tars: Mapping[OutputPath, Record], copies: ExitStack) -> list[Path]:
    """Parts on this machine; those of a store are fetched several at a time."""

    def fetch(tar: OutputPath) -> AbstractContextManager[Path]:
        written = tars[tar].shard
        return local_copy(tar, sha256=None if written is None else written.sha256)

    with ThreadPoolExecutor(_FETCHED_AT_ONCE) as pool:
        return list(pool.map(lambda tar: copies.enter_context(fetch(tar)), tars))


def _require_tar(folder: OutputPath, block: int, part: Record) -> None:
    """Raise DataError when the tar of a part is not the one that its record was written for."""
    if not part.rows:
        return
    tar, end = part_tar(folder, block), max(row.offset + row.size for row in part.rows)
    size = size_of(tar)
    if size is None or size < end:
        raise DataError(
            f"{tar}, which an earlier run has finished, is missing or too short",
            cure=f"remove {part_record(folder, block)}, and the same command makes it anew",
        )


def remove_parts(folder: OutputPath, blocks: Iterable[int]) -> None:
    for block in blocks:
        # The record first: a part without a record is unfinished, never the other way round.
        part_record(folder, block).unlink(missing_ok=True)
        part_tar(folder, block).unlink(missing_ok=True)

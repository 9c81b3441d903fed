"""What became of the scenes of a part, a shard, or a whole dataset, kept while it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ValidationError

from imig.errors import DataError
from imig.output.tally import StageTally
from imig.schema import Quarantine, Reject, ShardRecord, first_problem
from imig.shards.atomic import atomic_write_bytes
from imig.shards.index import IndexRow
from imig.stores.path import OutputPath, read_file


class Record(BaseModel):
    """What became of the scenes of a part, a shard, or a whole build."""

    input: int = 0
    rows: list[IndexRow] = []
    """Index rows of the samples, in order; shard and offset are final in a shard's record only."""
    rejects: list[Reject] = []
    quarantined: list[Quarantine] = []
    tallies: dict[str, StageTally] = {}
    shard: ShardRecord | None = None
    """The finished shard, or the part's tar; null where no sample survived."""
    members: list[str] = []
    """Those that any sample of the finished shard has; empty in older records, and in a part's."""


def write_record(path: OutputPath, record: Record) -> None:
    atomic_write_bytes(path, record.model_dump_json().encode())


def read_record(path: OutputPath) -> Record:
    """Read a part's or a shard's record. Raises DataError when it is damaged."""
    try:
        return Record.model_validate_json(read_file(path))
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    except ValidationError as error:
        raise _damaged(path, first_problem(error)) from error


def add_tallies(tallies: dict[str, StageTally], others: Mapping[str, StageTally]) -> None:
    """Add what stages did to what they did elsewhere, in place."""
    for stage, tally in others.items():
        tallies.setdefault(stage, StageTally()).add(tally)


def merge_records(records: Iterable[Record]) -> Record:
    """One record of several, in their order; `shard` and `members` are left out."""
    merged = Record()
    for record in records:
        merged.input += record.input
        merged.rows += record.rows
        merged.rejects += record.rejects
        merged.quarantined += record.quarantined
        add_tallies(merged.tallies, record.tallies)
    return merged


def _damaged(record: OutputPath, reason: str) -> DataError:
    return DataError(
        f"the build's own record {record} cannot be read: {reason}",
        cure=f"remove {record}, and the same command makes that part anew",
    )

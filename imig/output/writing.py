"""A stream of samples becomes shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from imig.output.record import Record
from imig.packed import Packed
from imig.sample import Sample
from imig.schema import Counts, Quarantine, Reject, Scene, ShardRecord, Subset
from imig.shards.index import IndexRow, scene_to_row
from imig.shards.manifest import shard_record
from imig.shards.names import shard_name
from imig.shards.writer import member_names, write_tar
from imig.stores.path import OutputPath, local_target


@dataclass
class Contents:
    """What a dataset is going to hold."""

    shards: list[ShardRecord] = field(default_factory=list)
    rows: Packed[IndexRow] = field(default_factory=Packed)
    rejects: Packed[Reject] = field(default_factory=Packed)
    quarantined: Packed[Quarantine] = field(default_factory=Packed)
    members: dict[str, frozenset[str]] = field(default_factory=dict)
    """Of shards, where they are known: what any of its samples has."""

    def add(self, record: Record) -> None:
        """Take a finished shard, and what has become of the scenes that went into it."""
        self.shards += [] if record.shard is None else [record.shard]
        if record.shard is not None and record.members:
            self.members[record.shard.name] = frozenset(record.members)
        self.rows += record.rows
        self.rejects += record.rejects
        self.quarantined += record.quarantined

    def counts(self) -> Counts:
        written, rejected, quarantined = (
            len(one) for one in (self.rows, self.rejects, self.quarantined)
        )
        return Counts(
            input=written + rejected + quarantined,
            written=written,
            rejected=rejected,
            quarantined=quarantined,
        )


def write_shard(path: OutputPath, samples: Iterable[Sample]) -> Record:
    """Write samples to a new shard, in their order; one sample is in memory at a time.

    The shard appears when it is whole; where there is no sample, there is none. Its record is the
    caller's to complete and to keep (`write_record`).

    Raises
    ------
    DataError
        When it cannot be written, or what yields the samples raises it.
    """
    scenes: list[Scene] = []

    def noted() -> Iterator[Sample]:
        for sample in samples:
            scenes.append(sample.scene)  # its pictures are not kept
            yield sample

    with local_target(path) as local:
        spans = write_tar(local, noted())
        if not spans:
            local.unlink()
            return Record()
        rows = [
            scene_to_row(scene, shard=path.name, offset=span.offset, size=span.size)
            for scene, span in zip(scenes, spans, strict=True)
        ]
        return Record(
            input=len(rows),
            rows=rows,
            shard=shard_record(local, samples=len(rows)),
            members=sorted(member_names(local)),
        )


def write_shards(
    folder: OutputPath,
    samples: Iterable[Sample],
    contents: Contents,
    *,
    subset: Subset,
    scenes_per_shard: int,
) -> None:
    """Write samples of one subset to as many shards as they need; errors as `write_shard`'s."""
    stream = iter(samples)
    for number, first in enumerate(stream):
        path = folder / shard_name(subset, number)
        contents.add(write_shard(path, chain([first], islice(stream, scenes_per_shard - 1))))

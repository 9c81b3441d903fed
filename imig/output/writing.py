"""A stream of samples becomes shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from imig.output.record import Record
from imig.packed import Packed
from imig.sample import Sample
from imig.schema import Counts, Quarantine, Reject, Scene, ShardRecord, Subset
from imig.shards.index import IndexRow, scene_to_row
from imig.shards.manifest import shard_record
from imig.shards.names import shard_name
from imig.shards.writer import write_tar


@dataclass
class Contents:
    """What a dataset is going to hold."""

    shards: list[ShardRecord] = field(default_factory=list)
    rows: Packed[IndexRow] = field(default_factory=Packed)
    rejects: Packed[Reject] = field(default_factory=Packed)
    quarantined: Packed[Quarantine] = field(default_factory=Packed)

    def add(self, record: Record) -> None:
        """Take a finished shard, and what has become of the scenes that went into it."""
        self.shards += [] if record.shard is None else [record.shard]
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


def write_shard(path: Path, samples: Iterable[Sample]) -> Record:
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

    spans = write_tar(path, noted())
    if not spans:
        path.unlink()
        return Record()
    rows = [
        scene_to_row(scene, shard=path.name, offset=span.offset, size=span.size)
        for scene, span in zip(scenes, spans, strict=True)
    ]
    return Record(input=len(rows), rows=rows, shard=shard_record(path, samples=len(rows)))


def write_shards(
    folder: Path,
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

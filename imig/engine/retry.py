"""Finished blocks that the next run tries again, since what made scenes fail may be cured by then.

Shards are joined as soon as they are complete. One with a block that may have to be done again
(`imig.engine.failures.errors_must_wait`) stays in parts until the build has come through.
"""

from __future__ import annotations

from collections.abc import Iterator

from imig.engine.failures import CANNOT_OPEN, Failures, errors_must_wait
from imig.engine.folder import BuildFolder
from imig.engine.parts import part_record, remove_parts
from imig.output.record import Record, read_record


def count_failures(folder: BuildFolder, *, limit: float) -> Failures:
    """What has become of all scenes that are through, in this run and in those before."""
    failures = Failures(limit)
    for record in _records(folder):
        errors = (one.error for one in record.quarantined)
        failures.add(seen=record.input, written=len(record.rows), errors=errors)
    return failures


def has_failed_parts(folder: BuildFolder) -> bool:
    """Whether blocks that are not in a shard yet have quarantined scenes."""
    return any(record.quarantined for _, record in _parts(folder))


def waiting_blocks(folder: BuildFolder) -> set[int]:
    """Finished blocks that stay in parts for now."""
    return {
        block
        for block, record in _parts(folder)
        if _must_wait(record, [one.error for one in record.quarantined])
    }


def drop_failed_parts(folder: BuildFolder) -> None:
    """Forget finished blocks with quarantined scenes, so that the next run tries them again.

    What has made them fail may be cured by then. Whether a picture can be opened again is looked at
    when the next run begins; scenes of joined shards stay in quarantine.
    """
    for block, record in _parts(folder):
        if any(not one.error.startswith(CANNOT_OPEN) for one in record.quarantined):
            remove_parts(folder.parts, [block])


def drop_cured_parts(folder: BuildFolder) -> None:
    """Forget finished blocks with pictures that could not be opened and can be by now."""
    for block, record in _parts(folder):
        lost = (one.id for one in record.quarantined if one.error.startswith(CANNOT_OPEN))
        if any(map(folder.plan.source.can_open, lost)):
            remove_parts(folder.parts, [block])


def drop_hopeless_parts(folder: BuildFolder) -> None:
    """Forget finished blocks in which most scenes have failed: what a killed run has left.

    Scenes whose pictures could not be opened do not count, see `drop_cured_parts`.
    """
    for block, record in _parts(folder):
        errors = [one.error for one in record.quarantined]
        others = [one for one in errors if not one.startswith(CANNOT_OPEN)]
        if _must_wait(record, others):
            remove_parts(folder.parts, [block])


def _records(folder: BuildFolder) -> Iterator[Record]:
    for shard in sorted(folder.finished_shards()):
        yield read_record(folder.shard_record(shard))
    for _, record in _parts(folder):
        yield record


def _parts(folder: BuildFolder) -> Iterator[tuple[int, Record]]:
    for block in sorted(folder.finished_parts()):
        yield block, read_record(part_record(folder.parts, block))


def _must_wait(record: Record, errors: list[str]) -> bool:
    return errors_must_wait(errors, seen=record.input, written=len(record.rows))

"""Finished blocks that the next run tries again, since what made scenes fail may be cured by then.

Shards are joined as soon as they are complete. One with a block that may have to be done again
(`imig.engine.failures.errors_must_wait`) stays in parts until the build has come through.
"""

from __future__ import annotations

from collections.abc import Iterator

from imig.engine.deaths import read_deaths
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
        if errors_must_wait(
            [one.error for one in record.quarantined],
            system_faults=sum(one.fault == "system" for one in record.quarantined),
            seen=record.input,
            written=len(record.rows),
        )
    }


def drop_failed_parts(folder: BuildFolder) -> None:
    """Forget finished blocks with quarantined scenes, so that the next run tries them again.

    What has made them fail may be cured by then. Whether a picture can be opened again is looked at
    when the next run begins; scenes of joined shards, and those that kill their worker, stay in
    quarantine.
    """
    guilty = read_deaths(folder.deaths).guilty
    for block, record in _parts(folder):
        known = {one.id for one in guilty.get(block, ())}
        if any(
            one.id not in known and not one.error.startswith(CANNOT_OPEN)
            for one in record.quarantined
        ):
            remove_parts(folder.parts, [block])


def drop_cured_parts(folder: BuildFolder) -> None:
    """Forget finished blocks with scenes for which the system was at fault, and may be well by now.

    Whether a picture can be opened again is looked at; other faults are tried.
    """
    for block, record in _parts(folder):
        for one in record.quarantined:
            if one.fault == "system" and (
                not one.error.startswith(CANNOT_OPEN) or folder.plan.source.can_open(one.id)
            ):
                remove_parts(folder.parts, [block])
                break


def drop_hopeless_parts(folder: BuildFolder) -> None:
    """Forget finished blocks in which most scenes have failed: what a killed run has left.

    Scenes for which the system was at fault do not count, see `drop_cured_parts`; nor do those that
    kill their worker, which are known and would only be left out again.
    """
    guilty = read_deaths(folder.deaths).guilty
    for block, record in _parts(folder):
        known = {one.id for one in guilty.get(block, ())}
        errors = [
            one.error for one in record.quarantined if one.fault == "data" and one.id not in known
        ]
        if errors_must_wait(errors, system_faults=0, seen=record.input, written=len(record.rows)):
            remove_parts(folder.parts, [block])


def _records(folder: BuildFolder) -> Iterator[Record]:
    for shard in sorted(folder.finished_shards()):
        yield read_record(folder.shard_record(shard))
    for _, record in _parts(folder):
        yield record


def _parts(folder: BuildFolder) -> Iterator[tuple[int, Record]]:
    for block in sorted(folder.finished_parts()):
        yield block, read_record(part_record(folder.parts, block))

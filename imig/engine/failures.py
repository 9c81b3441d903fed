"""Quarantined scenes: how many a build bears, and which of them the next run tries again.

Shards are joined as soon as they are complete. One with a block that the next run may have to try
again (a picture that could not be opened, more failures than `max_error_rate` allows, no scene
left) stays in parts until the build has come through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from imig.engine.folder import BuildFolder
from imig.engine.parts import Record, part_record, read_record, remove_parts
from imig.errors import CannotOpenError, DataError

MIN_SEEN: Final = 20
"""Scenes seen before `max_error_rate` is looked at: one bad picture in ten is no rate yet."""
MOST_OF_FEW: Final = 0.5
"""Of fewer scenes than `MIN_SEEN` at the end of a build, more than this share is too many."""

_CANNOT_OPEN: Final = f"{CannotOpenError.__name__}: cannot open "


@dataclass
class Failures:
    """Quarantined scenes of a run or of a whole build."""

    limit: float
    """`max_error_rate`."""
    seen: int = 0
    written: int = 0
    messages: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        return self.messages.total()

    def add(self, *, seen: int, written: int, errors: Iterable[str]) -> None:
        """Count the scenes of a block or a shard."""
        self.seen += seen
        self.written += written
        self.messages.update(errors)

    def require_few(self) -> None:
        """Raise DataError when too many scenes have failed, while others are still to come."""
        if self.seen >= MIN_SEEN and self.failed / self.seen > self.limit:
            raise self._error()

    def require_success(self) -> None:
        """Raise DataError when too many scenes have failed for a build that is through."""
        if not self.failed:
            return
        limit = self.limit if self.seen >= MIN_SEEN else max(self.limit, MOST_OF_FEW)
        if not self.written or self.failed / self.seen > limit:
            raise self._error()

    def _error(self) -> DataError:
        lost = [one for one in self.messages if one.startswith(_CANNOT_OPEN)]
        count = sum(self.messages[one] for one in lost)
        counted = f"{self.failed} of {self.seen} scenes failed (engine.max_error_rate is "
        counted += f"{self.limit:g}), {self.written} could be written; "
        if 2 * count >= self.failed:
            return DataError(
                f"{counted}{count} pictures of the source cannot be opened, the first being "
                f"{lost[0].removeprefix(_CANNOT_OPEN)}",
                cure="bring them back (is the disk mounted? may you read them?) and run the same "
                "command again: finished work is kept, and these are tried again" + self._or_allow,
            )
        message, most = self.messages.most_common(1)[0]
        return DataError(
            f"{counted}the most common error ({most} times): {message}",
            cure="finished work is kept: remove the cause and run the same command again"
            + self._or_allow,
        )

    @property
    def _or_allow(self) -> str:
        if not self.written or self.failed / self.seen <= self.limit:
            return ""  # allowing more would not help
        return ", or allow more with --set engine.max_error_rate=RATE"


def must_wait(record: Record, *, limit: float) -> bool:
    """Whether the block or shard of this record stays apart until the build has come through."""
    errors = [one.error for one in record.quarantined]
    return errors_must_wait(errors, seen=record.input, written=len(record.rows), limit=limit)


def errors_must_wait(errors: list[str], *, seen: int, written: int, limit: float) -> bool:
    """As `must_wait`, of the errors of a block."""
    if not errors:
        return False
    lost = any(one.startswith(_CANNOT_OPEN) for one in errors)
    return lost or not written or len(errors) / seen > limit


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


def waiting_blocks(folder: BuildFolder, *, limit: float) -> set[int]:
    """Finished blocks that stay in parts for now."""
    return {block for block, record in _parts(folder) if must_wait(record, limit=limit)}


def drop_failed_parts(folder: BuildFolder) -> None:
    """Forget finished blocks with quarantined scenes, so that the next run tries them again.

    What has made them fail may be cured by then. Whether a picture can be opened again is looked at
    when the next run begins; scenes of joined shards stay in quarantine.
    """
    for block, record in _parts(folder):
        if any(not one.error.startswith(_CANNOT_OPEN) for one in record.quarantined):
            remove_parts(folder.parts, [block])


def drop_cured_parts(folder: BuildFolder) -> None:
    """Forget finished blocks with pictures that can be opened by now, or with many failures."""
    limit = folder.plan.loaded.recipe.engine.max_error_rate
    for block, record in _parts(folder):
        lost = [one for one in record.quarantined if one.error.startswith(_CANNOT_OPEN)]
        others = len(record.quarantined) - len(lost)
        cured = any(folder.plan.source.can_open(one.id) for one in lost)
        if cured or others > limit * record.input or (others and not record.rows):
            remove_parts(folder.parts, [block])


def _records(folder: BuildFolder) -> Iterator[Record]:
    for shard in range(folder.plan.shards):
        if folder.shard_record(shard).is_file():
            yield read_record(folder.shard_record(shard))
    for _, record in _parts(folder):
        yield record


def _parts(folder: BuildFolder) -> Iterator[tuple[int, Record]]:
    for block in sorted(folder.finished_parts()):
        yield block, read_record(part_record(folder.parts, block))

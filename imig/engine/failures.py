"""Quarantined scenes: how many of them a build bears."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from imig.errors import CannotOpenError, DataError

MIN_SEEN: Final = 20
"""Scenes seen before `max_error_rate` is looked at: one bad picture in ten is no rate yet."""
MOST_OF_FEW: Final = 0.5
"""Of fewer scenes than `MIN_SEEN` at the end of a build, more than this share is too many."""

CANNOT_OPEN: Final = f"{CannotOpenError.__name__}: cannot open "
"""How the error of a scene begins whose picture the system does not give."""


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
        lost = [one for one in self.messages if one.startswith(CANNOT_OPEN)]
        count = sum(self.messages[one] for one in lost)
        counted = f"{self.failed} of {self.seen} scenes failed (engine.max_error_rate is "
        counted += f"{self.limit:g}), {self.written} could be written; "
        if 2 * count >= self.failed:
            return DataError(
                f"{counted}{count} pictures of the source cannot be opened, the first being "
                f"{lost[0].removeprefix(CANNOT_OPEN)}",
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


def errors_must_wait(errors: Sequence[str], *, system_faults: int, seen: int, written: int) -> bool:
    """Whether a finished block stays apart until the build has come through.

    It may have to be done again: the system was at fault, no scene is left, or half of the `seen`
    ones have failed.
    """
    if not errors:
        return False
    return system_faults > 0 or not written or 2 * len(errors) >= seen

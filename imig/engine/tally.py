"""What the workers tell the driver while a build runs.

An actor runs this, whose process should start in no time: what takes long to import (torch,
pyarrow) has no place here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from imig.output.tally import StageTally


@dataclass
class Snapshot:
    """The state of a running build."""

    tallies: dict[str, StageTally] = field(default_factory=dict)
    """Of this run, by stage."""
    rejects: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Scenes of this run by stage and reason."""
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Quarantined scenes of this run by stage and kind of error, such as ``ValueError``."""
    ready: set[str] = field(default_factory=set)
    """Stages whose models are loaded."""
    failure: bytes | None = None
    """A pickled exception that ends the build: a stage could not start, or is at fault itself."""


class Tally:
    """Counts for the display, attempts at each block, leave to write; one actor a build.

    The counts of the final report do not come from here but from the records of the parts.
    """

    def __init__(self) -> None:
        self._snapshot = Snapshot()
        self._attempts: dict[tuple[str, int], int] = {}
        self._writing: set[int] = set()
        self._closed = False

    def begin(self, stage: str, block: int) -> int:
        """Which attempt at this block this is, from 1: more than 1 after a worker's death."""
        attempt = self._attempts.get((stage, block), 0) + 1
        self._attempts[stage, block] = attempt
        return attempt

    def end(
        self,
        tallies: dict[str, StageTally],
        group: str,
        block: int,
        *,
        written: bool,
        rejects: Counter[tuple[str, str]],
        errors: Counter[tuple[str, str]],
    ) -> None:
        """A worker is through with a block; the last one has `written` its part.

        `rejects` and `errors` are those of the worker's own stages, as in the snapshot.
        """
        self._snapshot.rejects.update(rejects)
        self._snapshot.errors.update(errors)
        self._attempts.pop((group, block), None)
        if written:
            self._writing.discard(block)
        for stage, tally in tallies.items():
            self._snapshot.tallies.setdefault(stage, StageTally()).add(tally)

    def may_write(self, block: int) -> bool:
        """Whether the block's part may be written; if so, `end` or `not_written` must follow."""
        if not self._closed:
            # A set: a worker that died while it wrote begins the same block again.
            self._writing.add(block)
        return not self._closed

    def not_written(self, block: int) -> None:
        """Writing the part has failed."""
        self._writing.discard(block)

    def close(self) -> int:
        """Let nobody begin to write from now on; how many parts are still being written."""
        self._closed = True
        return len(self._writing)

    def ready(self, stages: list[str]) -> None:
        self._snapshot.ready.update(stages)

    def fail(self, failure: bytes) -> None:
        """Keep the first failure; later ones are mostly its consequences."""
        if self._snapshot.failure is None:
            self._snapshot.failure = failure

    def snapshot(self) -> Snapshot:
        return self._snapshot

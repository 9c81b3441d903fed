"""What the workers tell the driver while a build runs.

An actor runs this, whose process should start in no time: what takes long to import (torch,
pyarrow) has no place here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from imig.engine.deaths import Deaths, Trial, case_key
from imig.output.tally import StageTally
from imig.schema import Quarantine


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
    batch_sizes: dict[str, int] = field(default_factory=dict)
    """By stage: the smallest that a worker of this run has found to fit."""
    failure: bytes | None = None
    """A pickled exception that ends the build: a stage could not start, or is at fault itself."""
    lines: list[str] = field(default_factory=list)
    """For the person at the console, since the last snapshot."""
    deaths: Deaths | None = None
    """What is known of scenes that kill workers, where it has changed since the last snapshot."""


@dataclass(frozen=True)
class Case:
    """What a worker must know of a block before it begins."""

    died_on: list[str]
    """Nodes of the workers that have begun it and did not come to its end."""
    trials: list[Trial]
    """Of an earlier run, which was looking for a guilty scene."""
    guilty: list[Quarantine]
    """Scenes that are known to kill their worker."""
    works_elsewhere: bool
    """Other blocks have come through the same stages."""


class Tally:
    """Counts for the display, attempts at each block, leave to write; one actor a build.

    The counts of the final report do not come from here but from the records of the parts.

    Parameters
    ----------
    deaths:
        What earlier runs have found out.
    works:
        Blocks have come through all stages in earlier runs.
    """

    def __init__(self, deaths: Deaths | None = None, *, works: bool = False) -> None:
        self._snapshot = Snapshot()
        self._deaths = deaths or Deaths()
        self._deaths_changed = False
        self._works = works
        self._through: set[str] = set()
        self._begun_on: dict[tuple[str, int], list[str]] = {}
        self._writing: set[int] = set()
        self._closed = False

    def begin(self, group: str, block: int, node: str) -> Case:
        """A worker begins a block; `node` is Ray's id of where it lives."""
        begun_on = self._begun_on.setdefault((group, block), [])
        died_on = list(begun_on)
        begun_on.append(node)
        return Case(
            died_on=died_on,
            trials=self._deaths.trials.get(case_key(group, block), []),
            guilty=self._deaths.guilty.get(block, []),
            works_elsewhere=self._works or group in self._through,
        )

    def keep(
        self, group: str, block: int, trials: Sequence[Trial], guilty: Sequence[Quarantine]
    ) -> None:
        """What a worker has found out of a block over which others have died."""
        key = case_key(group, block)
        self._deaths.trials.pop(key, None)
        if trials:
            self._deaths.trials[key] = list(trials)
        if guilty:
            self._deaths.guilty[block] = list(guilty)
        self._deaths_changed = True

    def say(self, line: str) -> None:
        """Let the person at the console know."""
        self._snapshot.lines.append(line)

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
        self._begun_on.pop((group, block), None)
        self._through.add(group)
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

    def fit(self, stage: str, batch_size: int) -> None:
        """A worker goes on with batches of another size than it began with, or `auto` began."""
        sizes = self._snapshot.batch_sizes
        sizes[stage] = min(batch_size, sizes.get(stage, batch_size))

    def ready(self, stages: list[str]) -> None:
        self._snapshot.ready.update(stages)

    def fail(self, failure: bytes) -> None:
        """Keep the first failure; later ones are mostly its consequences."""
        if self._snapshot.failure is None:
            self._snapshot.failure = failure

    def snapshot(self) -> Snapshot:
        """The state; lines and what is new about deaths are given once."""
        changed, self._deaths_changed = self._deaths_changed, False
        given = replace(self._snapshot, deaths=self._deaths if changed else None)
        self._snapshot.lines = []
        return given

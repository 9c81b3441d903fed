"""Where a running build is: what screens, logs and metrics show, each in its way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from imig.console.pace import Pace
from imig.engine.finish import FinishedBuild
from imig.engine.groups import Group
from imig.engine.plan import Plan
from imig.engine.tally import Snapshot
from imig.output.tally import StageTally
from imig.schema import Manifest
from imig.stores.path import OutputPath


@dataclass(frozen=True)
class StageStatus:
    """Where one stage is, in this run."""

    name: str
    tally: StageTally
    ready: bool
    """Its models are loaded."""
    waiting: int
    """Scenes that the stage before has passed on: the length of its queue."""
    to_come: float
    """Scenes that it will still see, when stages go on to turn down as many as so far."""
    rate: float | None
    """Scenes a second of late; None while that is not known, or nothing is to come."""
    seconds_left: float | None
    """None while that is not known."""


@dataclass(frozen=True)
class BuildStatus:
    """Where the build is."""

    scenes: int
    """Of the input."""
    done: int
    """Written, rejected or quarantined; earlier runs included."""
    rate: float | None
    """Scenes a second of late that came through; None before the second block."""
    seconds_left: float | None
    stages: Sequence[StageStatus]
    rejects: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Scenes of this run by stage and reason."""
    errors: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Quarantined scenes of this run by stage and kind of error."""


class BuildObserver:
    """Told what happens in a build; nothing that is not overridden does anything."""

    def started(self, plan: Plan, *, finished_scenes: int) -> None:
        """Blocks begin to run; `finished_scenes` are those of earlier runs."""

    def workers(self, groups: Sequence[Group]) -> None:
        """These are the workers from now on; again after nodes were lost."""

    def progressed(self, status: BuildStatus) -> None:
        """About twice a second."""

    def warned(self, text: str) -> None:
        """Something that people should know, and the build goes on."""

    def finished(self, build: FinishedBuild, *, seconds: float) -> None:
        """The dataset is there; `seconds` is how long this run took."""

    def was_finished(self, manifest: Manifest, *, output: OutputPath) -> None:
        """There is nothing to do: the same command has made the dataset before."""


class BuildMeter:
    """Makes a status of what workers have counted.

    Parameters
    ----------
    finished_scenes:
        Scenes that earlier runs have finished.
    clock:
        Seconds, growing.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        finished_scenes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stages = [step.stage.name for step in plan.steps]
        self._total = plan.scenes
        self._clock = clock
        self.begin(finished_scenes=finished_scenes)

    def begin(self, *, finished_scenes: int) -> None:
        """Workers begin, or begin again after nodes were lost, and count from nothing."""
        self._before = finished_scenes
        self._done = 0
        self._pace = Pace()
        self._stage_paces = {name: Pace() for name in self._stages}

    def advance(self, scenes: int) -> None:
        """More scenes are through: written, rejected or quarantined."""
        self._done += scenes
        self._pace.update(self._done, now=self._clock())

    def status(self, snapshot: Snapshot) -> BuildStatus:
        """Where the build is, by what the workers have counted until now."""
        now, left = self._clock(), self._total - self._before - self._done
        for name, tally in snapshot.tallies.items():
            self._stage_paces[name].update(tally.seen, now=now)
        return BuildStatus(
            scenes=self._total,
            done=self._before + self._done,
            rate=self._pace.rate(now=now),
            seconds_left=self._pace.seconds_for(left, now=now),
            stages=list(self._stage_statuses(snapshot, now=now)),
            rejects=snapshot.rejects,
            errors=snapshot.errors,
        )

    def _stage_statuses(self, snapshot: Snapshot, *, now: float) -> Iterator[StageStatus]:
        arrived, to_arrive = self._total - self._before, 0.0
        for name in self._stages:
            tally, pace = snapshot.tallies.get(name, StageTally()), self._stage_paces[name]
            waiting = max(0, arrived - tally.seen)
            to_come = waiting + to_arrive
            yield StageStatus(
                name,
                tally,
                ready=name in snapshot.ready or tally.seen > 0,
                waiting=waiting,
                to_come=to_come,
                rate=pace.rate(now=now) if to_come else None,
                seconds_left=pace.seconds_for(to_come, now=now),
            )
            arrived = tally.passed
            to_arrive = to_come * (tally.passed / tally.seen if tally.seen else 1.0)

"""A build as events for machines: `imig build --log json`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imig import __version__
from imig.console.json_log import JsonLog
from imig.console.live_line import LINE_SECONDS
from imig.engine.finish import FinishedBuild
from imig.engine.groups import Group
from imig.engine.plan import Plan
from imig.engine.status import BuildObserver, BuildStatus, StageStatus
from imig.schema import Manifest
from imig.shards.funnel import FunnelRow
from imig.stores.path import OutputPath


class JsonEvents(BuildObserver):
    """Writes `started`, `workers`, `progress` (about every ten seconds), `warning`, `finished`.

    What ends a command otherwise, `error` or `stopped`, `imig.cli` writes.
    """

    def __init__(self, log: JsonLog, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._written: float | None = None

    def started(self, plan: Plan, *, finished_scenes: int) -> None:
        recipe = plan.loaded.recipe
        self._written = None
        self._log.write(
            "started",
            imig=__version__,
            recipe=recipe.name,
            output=str(plan.output),
            scenes=plan.scenes,
            finished_scenes=finished_scenes,
            stages=[step.stage.name for step in plan.steps],
            ray_address=recipe.engine.ray_address,
        )
        for one in plan.skipped:
            self.warned(f"skipped: {one.stage}: {one.reason}")
        for remark in plan.source.remarks():
            self.warned(f"source: {remark}")

    def workers(self, groups: Sequence[Group]) -> None:
        self._log.write("workers", groups=[_group_values(group) for group in groups])

    def progressed(self, status: BuildStatus) -> None:
        now = self._clock()
        if self._written is not None and now - self._written < LINE_SECONDS:
            return
        self._written = now
        self._log.write(
            "progress",
            scenes=status.scenes,
            done=status.done,
            scenes_per_second=_rounded(status.rate),
            seconds_left=_rounded(status.seconds_left),
            stages=[_stage_values(stage) for stage in status.stages],
            rejects=_nested(status.rejects),
            errors=_nested(status.errors),
        )

    def warned(self, text: str) -> None:
        self._log.write("warning", message=text)

    def finished(self, build: FinishedBuild, *, seconds: float) -> None:
        self._log.write(
            "finished",
            output=str(build.output),
            finished_already=False,
            counts=build.manifest.counts.model_dump(),
            shards=len(build.manifest.shards),
            seconds=_rounded(seconds),
            funnel=[_row_values(row) for row in build.funnel],
        )

    def was_finished(self, manifest: Manifest, *, output: OutputPath) -> None:
        self._log.write(
            "finished",
            output=str(output),
            finished_already=True,
            counts=manifest.counts.model_dump(),
            shards=len(manifest.shards),
        )


def _group_values(group: Group) -> dict[str, Any]:
    return {
        "stages": list(group.stages),
        "workers": group.workers,
        "cpus": group.cpus,
        "gpus": group.gpus,
        "custom": dict(group.custom),
    }


def _stage_values(stage: StageStatus) -> dict[str, Any]:
    return {
        "stage": stage.name,
        "ready": stage.ready,
        "seen": stage.tally.seen,
        "waiting": stage.waiting,
        "rejected": stage.tally.rejected,
        "quarantined": stage.tally.quarantined,
        "busy_seconds": _rounded(stage.tally.seconds),
        "scenes_per_second": _rounded(stage.rate),
        "seconds_left": _rounded(stage.seconds_left),
    }


def _row_values(row: FunnelRow) -> dict[str, Any]:
    return {
        "stage": row.stage,
        "seen": row.seen,
        "rejected": row.rejected,
        "quarantined": row.quarantined,
        "passed": row.passed,
        "reasons": row.reasons,
    }


def _nested(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """``{"crop": {"too small": 3}}``."""
    nested: dict[str, dict[str, int]] = {}
    for (stage, what), count in sorted(counts.items()):
        nested.setdefault(stage, {})[what] = count
    return nested


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)

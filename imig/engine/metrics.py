"""Figures of a running build for Prometheus: `imig build --metrics`.

The driver answers, with what it shows people, too: it has the counts of all workers of all nodes,
one address has to be scraped, and none of Ray's own agents need to run. (`ray.util.metrics` needs
`ray[default]` and its agent on each node, whose ports have to be discovered. On a cluster that has
them, Ray's metrics say what a build's cannot: memory, object store, and use of each machine.)
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imig import __version__
from imig.engine.groups import Group
from imig.engine.plan import Plan
from imig.engine.status import BuildObserver, BuildStatus
from imig.errors import UsageError

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


class BuildMetrics(BuildObserver):
    """Keeps the last status of a build, and is a collector of `prometheus_client`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recipe, self._output = "", ""
        self._status: BuildStatus | None = None
        self._groups: tuple[Group, ...] = ()
        self._warnings = 0

    def started(self, plan: Plan, *, finished_scenes: int) -> None:
        with self._lock:
            self._recipe, self._output = plan.loaded.recipe.name, str(plan.output)
            self._status, self._groups, self._warnings = None, (), 0

    def workers(self, groups: Sequence[Group]) -> None:
        with self._lock:
            self._groups = tuple(groups)

    def progressed(self, status: BuildStatus) -> None:
        with self._lock:
            self._status = status

    def warned(self, text: str) -> None:
        with self._lock:
            self._warnings += 1

    def collect(self) -> Iterable[Metric]:
        """What Prometheus scrapes; called in a thread of the server."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        with self._lock:
            status, groups, warnings = self._status, self._groups, self._warnings
            recipe, output = self._recipe, self._output
        labels = ["version", "recipe", "output"]
        info = GaugeMetricFamily("imig_build_info", "1: this build.", labels=labels)
        info.add_metric([__version__, recipe, output], 1)
        yield info
        told = CounterMetricFamily("imig_warnings", "Of this run, lost nodes among them.")
        told.add_metric([], warnings)
        yield told
        yield from _of_groups(groups)
        if status is not None:
            yield from _of_status(status)
            yield from _of_stages(status, groups)


@contextmanager
def metrics_server(address: tuple[str, int]) -> Iterator[BuildMetrics]:
    """An endpoint at a host and a port while the block runs; whatever the path, it answers.

    Raises UsageError when the port is taken, or the package is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError as error:
        raise UsageError(
            "--metrics: the Python package prometheus-client is not installed",
            cure="pip install 'imig[metrics]'",
        ) from error
    metrics, registry = BuildMetrics(), CollectorRegistry()
    registry.register(metrics)
    host, port = address
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise UsageError(
            f"--metrics: cannot listen at {host}:{port}: {error.strerror or error}",
            cure="give another port, or a host of this machine",
        ) from error
    try:
        yield metrics
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _of_status(status: BuildStatus) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    figures = {
        "imig_scenes": ("Of the input.", status.scenes),
        "imig_scenes_done": (
            "Written, rejected or quarantined, those of earlier runs included.",
            status.done,
        ),
        "imig_scenes_per_second": ("Of late; not there while it is not known.", status.rate),
        "imig_seconds_left": ("At that pace; not there while it is unknown.", status.seconds_left),
    }
    for name, (meaning, value) in figures.items():
        if value is not None:
            yield GaugeMetricFamily(name, meaning, value=value)


def _of_groups(groups: Sequence[Group]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    workers = GaugeMetricFamily("imig_workers", "Worker processes.", labels=["stages"])
    gpus = GaugeMetricFamily("imig_worker_gpus", "GPUs that they hold.", labels=["stages"])
    for group in groups:
        workers.add_metric([group.name], group.workers)
        gpus.add_metric([group.name], group.workers * group.gpus)
    yield workers
    yield gpus


def _of_stages(status: BuildStatus, groups: Sequence[Group]) -> Iterator[Metric]:
    """Of this run."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    gpus = {stage: group.gpus for group in groups for stage in group.stages}
    stage_only = ["stage"]
    seen = CounterMetricFamily("imig_stage_scenes", "Seen by the stage.", labels=stage_only)
    busy = CounterMetricFamily("imig_stage_busy_seconds", "Work of its workers.", labels=stage_only)
    gpu = CounterMetricFamily(
        "imig_stage_gpu_seconds",
        "Busy seconds by the GPUs that a worker holds: GPUs at work, as a rate.",
        labels=stage_only,
    )
    ready = GaugeMetricFamily("imig_stage_ready", "1: models are loaded.", labels=stage_only)
    waiting = GaugeMetricFamily("imig_stage_waiting", "Scenes in its queue.", labels=stage_only)
    for stage in status.stages:
        seen.add_metric([stage.name], stage.tally.seen)
        busy.add_metric([stage.name], stage.tally.seconds)
        gpu.add_metric([stage.name], stage.tally.seconds * gpus.get(stage.name, 0.0))
        ready.add_metric([stage.name], float(stage.ready))
        waiting.add_metric([stage.name], stage.waiting)
    yield from (seen, busy, gpu, ready, waiting)
    rejected = CounterMetricFamily(
        "imig_stage_rejected", "Scenes turned down.", labels=["stage", "reason"]
    )
    for names, count in sorted(status.rejects.items()):
        rejected.add_metric(names, count)
    quarantined = CounterMetricFamily(
        "imig_stage_quarantined", "Scenes that raised.", labels=["stage", "error"]
    )
    for names, count in sorted(status.errors.items()):
        quarantined.add_metric(names, count)
    yield from (rejected, quarantined)

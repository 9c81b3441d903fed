"""A Ray cluster of several nodes, all of them on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from support.engine_stages import Judge

TESTS = Path(__file__).parents[1]
RAY = Path(sys.executable).with_name("ray")


@contextmanager
def ray_cluster() -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster` whose head has one CPU; its nodes import imig and `support`."""
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    # With a token, as `ray.init` starts Ray for a build of one machine: Ray keeps the mode that it
    # saw first for as long as the process lives, and other tests of this process may come first.
    subprocess.run([RAY, "get-auth-token", "--generate"], check=True, capture_output=True)
    with patch.dict(os.environ, {"PYTHONPATH": paths, "RAY_AUTH_MODE": "token"}):
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        try:
            yield cluster
        finally:
            cluster.shutdown()  # type: ignore[no-untyped-call]


@contextmanager
def nodes(cluster: Any, *options: dict[str, Any]) -> Iterator[list[Any]]:
    """More nodes, with what `Cluster.add_node` takes; gone at the end of the block."""
    added = [cluster.add_node(**one) for one in options]
    try:
        yield added
    finally:
        for one in added:
            if one in cluster.worker_nodes:
                cluster.remove_node(one)


def kill_when(cluster: Any, node: Any, due: Callable[[], bool]) -> threading.Thread:
    """A thread that kills a node, with -9, as soon as something holds."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while not due() and time.monotonic() < deadline:
            time.sleep(0.02)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


class PlacedJudge(Judge):
    """Leaves a file for each worker, named after the node that it is on."""

    def __init__(self, *, places: Path, seconds: float) -> None:
        super().__init__(seconds=seconds, raise_on=[5])
        self._places = places

    def setup(self) -> None:
        import ray

        (self._places / f"{ray.get_runtime_context().get_node_id()}-{os.getpid()}").touch()

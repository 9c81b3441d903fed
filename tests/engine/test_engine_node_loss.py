"""What is known of scenes and batches outlives the nodes on which it was found out; without Ray."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from support.engine_build import finish_blocks
from support.engine_stages import Judge, make_test_plan, write_recipe

import imig.engine.build as engine
from imig.engine import workers
from imig.engine.deaths import Deaths, Trial
from imig.engine.fitting import FittingSize
from imig.engine.folder import BuildFolder
from imig.engine.machine import Machine
from imig.engine.nodes import Node, NodesLostError
from imig.engine.tally import Snapshot, Tally
from imig.engine.workers import FinishedBlock
from imig.recipe.parts import Resources

KNOWN = Deaths(trials={"filter/7": [Trial(scenes=["basic-00000029"], death=None)]})


def test_deaths_and_batch_sizes_survive_lost_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge()
    plan = make_test_plan(tmp_path / "d", recipe=write_recipe(tmp_path), scenes=40, judge=judge)
    plan = replace(plan, steps=(plan.steps[0], replace(plan.steps[1], resources=Resources())))
    begun: list[tuple[list[int], dict[str, int], Deaths]] = []

    def stream(
        plan: Any, blocks: Sequence[int], *, sizes: dict[str, FittingSize], deaths: Deaths, **_: Any
    ) -> Iterator[FinishedBlock | Snapshot]:
        begun.append((list(blocks), {name: one.now for name, one in sizes.items()}, deaths))
        if len(begun) == 1:
            yield from finish_blocks(BuildFolder(plan), blocks[:3], sizes)
            yield Snapshot(deaths=KNOWN, batch_sizes={"filter": 2}, lines=["looking"])
            raise NodesLostError("lost node-3: the other nodes do not hold all workers")
        yield from finish_blocks(BuildFolder(plan), blocks, sizes)

    monkeypatch.setitem(sys.modules, "imig.engine.stream", SimpleNamespace(stream_blocks=stream))
    machine = Machine(cpus=2, gpus=0, memory=1 << 34)
    monkeypatch.setattr(engine, "_ray_session", lambda plans: nullcontext(machine))
    monkeypatch.setattr(engine, "alive_nodes", lambda: [Node("a", "node-1", {"CPU": 8.0})])
    monkeypatch.setattr(engine, "wait_for_nodes", lambda wanted, say: list(wanted))
    screen = io.StringIO()
    finished = engine.build(plan, Console(file=screen, width=160))
    assert finished is not None
    assert finished.manifest.counts.input == 40
    (_, first, none), (left, second, deaths) = begun
    assert (first["filter"], none) == (8, Deaths())
    assert (left, second["filter"], deaths) == ([3, 4, 5, 6, 7, 8, 9], 2, KNOWN)
    for line in ("looking", "goes on in batches of 2", "lost node-3", "going on with the workers"):
        assert line in screen.getvalue()


@pytest.mark.parametrize(
    ("there", "deaths"),
    [
        pytest.param({"a", "b"}, 3, id="both-are-there"),
        pytest.param({"b"}, 1, id="one-is-lost"),
        pytest.param({"c"}, 0, id="both-are-lost"),
    ],
)
def test_workers_that_a_lost_node_took_along_count_as_killed_by_no_scene(
    monkeypatch: pytest.MonkeyPatch, there: set[str], deaths: int
) -> None:
    tally = Tally()
    for node in ("a", "b", "a"):
        tally.begin("filter", 7, node)
    case = tally.begin("filter", 7, "b")
    monkeypatch.setattr(workers, "alive_nodes", lambda: [Node(one, one, {}) for one in there])
    assert workers._deaths(case) == deaths

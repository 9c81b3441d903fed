"""The nodes of a Ray that is up: what each has for workers, and what to do when one goes away.

A worker lives on one node. What all nodes have together says nothing about it, so workers are laid
out over the nodes here before Ray does it: a stage whose workers fit on none would wait for ever.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from imig.engine.groups import Group
from imig.engine.ray_life import wait_for_ray
from imig.errors import DataError, UsageError

LOOK_SECONDS: Final = 3.0
"""Between two looks at the nodes: Ray itself takes about as long to notice that one is gone."""
PATIENCE_SECONDS: Final = 600.0
"""How long a build waits for a node to come back without which it cannot go on."""
_ENOUGH: Final = 1e-6
"""Fractions that add up to a whole GPU may fall short of it by so much."""


@dataclass(frozen=True)
class Node:
    """A machine, or a container, of the cluster."""

    id: str
    name: str
    """As people call it: its host, and its address where that is another word."""
    resources: dict[str, float]
    """What it has for workers in all, by Ray's names."""


class NodesLostError(Exception):
    """Nodes have gone, and the others do not hold all workers: the stream has to begin anew."""


def alive_nodes() -> list[Node]:
    """The nodes that Ray believes to be there.

    Raises RayLost when there is no Ray any more that could say.
    """
    import ray

    wait_for_ray()
    return [
        Node(
            id=one["NodeID"],
            name=_name(host=one["NodeManagerHostname"], address=one["NodeManagerAddress"]),
            resources=dict(one["Resources"]),
        )
        for one in ray.nodes()  # type: ignore[no-untyped-call]
        if one["Alive"]
    ]


def needed(groups: Sequence[Group], kind: Literal["cpus", "gpus"]) -> float:
    """CPUs or GPUs of all workers together."""
    return float(sum(getattr(group, kind) * group.workers for group in groups))


def require_resources(groups: Sequence[Group], nodes: Sequence[Node]) -> list[Group]:
    """The groups with as many workers as the nodes hold side by side, as `lay_out` has it.

    Raises UsageError when the nodes lack what the workers take, all together or one of them, or do
    not hold one of each group.
    """
    kinds: tuple[tuple[Literal["cpus", "gpus"], str], ...] = (("gpus", "GPU"), ("cpus", "CPU"))
    for kind, name in kinds:
        wanted = needed(groups, kind)
        available = sum(node.resources.get(name, 0.0) for node in nodes)
        if wanted > available + _ENOUGH:
            greedy = max(groups, key=lambda group: getattr(group, kind)).stages[0]
            raise UsageError(
                f"the stages ask for {wanted:g} {name}s together, and Ray has {available:g}",
                cure=f"lower {greedy}.resources.{kind} (fractions share one) or its concurrency",
            )
    for group in groups:
        held = sum(_workers_of(node, group) for node in nodes)
        if held < group.workers:
            stage, has = group.stages[0], f"hold {held:g} of the {group.workers}"
            raise UsageError(
                f"the nodes {has if held else 'have no place for the'} workers of {group.name}, "
                f"which take {_amounts(group.takes)} each; there "
                f"{'is' if len(nodes) == 1 else 'are'}: {_describe(nodes)}",
                cure=f"lower {stage}.resources, or start a node that has it: `ray start "
                f"--address=HEAD:6379 {_ray_start_words(group.takes)}`",
            )
    fitting = lay_out(groups, nodes)
    if fitting is None:
        taken = "; ".join(f"{group.name} ({_amounts(group.takes)})" for group in groups)
        raise UsageError(
            "the nodes do not hold a worker of every stage side by side; a worker lives on one "
            f"node, and a share of a GPU on one GPU. There are: {_describe(nodes)}. Workers: "
            f"{taken}",
            cure="lower resources of one of them, so that it fits beside the others",
        )
    return fitting


def lay_out(groups: Sequence[Group], nodes: Sequence[Node]) -> list[Group] | None:
    """The groups with as many of their workers as the nodes hold together, each at least one.

    None where a group would be left without a worker.
    """
    free = [_Free.of(node) for node in nodes]
    placed = dict.fromkeys(range(len(groups)), 0)
    # Those that few nodes can hold come first, and each gets one before any gets a second.
    order = sorted(placed, key=lambda one: sum(_workers_of(node, groups[one]) for node in nodes))
    growing = list(order)
    while growing:
        for one in list(growing):
            if placed[one] < groups[one].workers and _take(free, groups[one].takes):
                placed[one] += 1
            else:
                growing.remove(one)
    if not all(placed.values()):
        return None
    return [replace(group, workers=placed[number]) for number, group in enumerate(groups)]


def holds_some(node: Node, groups: Sequence[Group]) -> bool:
    """Whether workers of any group may come to run there."""
    return any(_workers_of(node, group) >= 1 for group in groups)


class NodeWatch:
    """Notices nodes that go away while a stream runs.

    Ray starts a lost node's workers anew on others and does their blocks again, as long as the
    others hold them. Where they do not, it would wait for ever.

    Parameters
    ----------
    clock:
        Seconds, growing.
    nodes:
        Who is there now.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        nodes: Callable[[], list[Node]] = alive_nodes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._groups = list(groups)
        self._nodes = nodes
        self._clock = clock
        self._known = {node.id: node for node in nodes()}
        self._looked = clock()

    def look(self, *, now: bool = False) -> str | None:
        """What has happened since the last look, for people; None where nothing has.

        Looks every `LOOK_SECONDS`, or `now`. Raises NodesLostError as the class says.
        """
        if not now and self._clock() - self._looked < LOOK_SECONDS:
            return None
        self._looked = self._clock()
        found = {node.id: node for node in self._nodes()}
        lost = [node for key, node in self._known.items() if key not in found]
        self._known = found
        if not lost:
            return None
        names = ", ".join(node.name for node in lost)
        if lay_out(self._groups, list(found.values())) != self._groups:
            raise NodesLostError(f"lost {names}: the other nodes do not hold all workers")
        return f"lost {names}: its workers start anew on other nodes, and do their blocks again"


def wait_for_nodes(
    groups: Sequence[Group],
    say: Callable[[str], None],
    *,
    nodes: Callable[[], list[Node]] = alive_nodes,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Group]:
    """The groups, with as many workers as the nodes that are left hold; waits for a first of each.

    Parameters
    ----------
    say:
        Told once that the build waits, and for what.

    Raises
    ------
    DataError
        After `PATIENCE_SECONDS`.
    """
    deadline, said = clock() + PATIENCE_SECONDS, False
    while (fitting := lay_out(groups, nodes())) is None:
        lacking = [one.name for one in groups if not any(_workers_of(n, one) for n in nodes())]
        what = f"a node for {', '.join(lacking)}" if lacking else "more nodes"
        if clock() > deadline:
            raise DataError(
                f"the cluster has lost what the build needs: {what}",
                cure="finished work is kept: start the node again and run the same command",
            )
        if not said:
            say(f"waiting up to {PATIENCE_SECONDS / 60:.0f} minutes for {what}")
            said = True
        sleep(LOOK_SECONDS)
    return fitting


def _workers_of(node: Node, group: Group) -> float:
    """How many workers of the group a node holds that has nothing else to do."""
    return min(
        (
            _times(amount, node.resources.get(name, 0.0), name)
            for name, amount in group.takes.items()
        ),
        default=float("inf"),
    )


def _times(amount: float, there: float, name: str) -> float:
    """How often a worker's amount is there."""
    if name == "GPU" and amount < 1:  # a share of one is a share of a single one
        return int(there) * ((1 + _ENOUGH) // amount)
    return (there + _ENOUGH) // amount


@dataclass
class _Free:
    """What of a node nobody has taken."""

    resources: dict[str, float]
    gpus: list[float]
    """Of each GPU: a share of one is a share of a single one."""

    @classmethod
    def of(cls, node: Node) -> _Free:
        return cls(dict(node.resources), [1.0] * int(node.resources.get("GPU", 0.0)))

    def has(self, takes: dict[str, float]) -> bool:
        return self._gpus(takes.get("GPU", 0.0)) is not None and all(
            self.resources.get(name, 0.0) + _ENOUGH >= amount for name, amount in takes.items()
        )

    def take(self, takes: dict[str, float]) -> None:
        for name, amount in takes.items():
            self.resources[name] -= amount
        amount = takes.get("GPU", 0.0)
        for one in self._gpus(amount) or ():
            self.gpus[one] -= min(amount, 1.0)

    def _gpus(self, amount: float) -> list[int] | None:
        """The GPUs of which a worker would get it, the fullest first; None: there are none."""
        share, count = min(amount, 1.0), math.ceil(amount)
        able = [one for one, left in enumerate(self.gpus) if left + _ENOUGH >= share]
        able.sort(key=lambda one: self.gpus[one])
        return able[:count] if len(able) >= count else None


def _take(free: list[_Free], takes: dict[str, float]) -> bool:
    """Take it of the node that is the least loss to others; False where no node has it."""
    able = [node for node in free if node.has(takes)]
    if not able:
        return False
    # A node without GPUs before one with them, for workers that want none; then the emptiest.
    chosen = min(
        able,
        key=lambda node: (_unasked(node.resources, takes), -node.resources.get("CPU", 0.0)),
    )
    chosen.take(takes)
    return True


def _unasked(node: dict[str, float], takes: dict[str, float]) -> int:
    """Kinds of things, GPUs first of all, that the node keeps for others."""
    return sum(amount > 0 and name not in takes for name, amount in _for_workers(node).items())


def _amounts(resources: dict[str, float]) -> str:
    """`1 CPU, 1 GPU, 1 big`."""
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())


def _describe(nodes: Sequence[Node]) -> str:
    """What each node has for workers, without what Ray counts for itself."""
    shown = (f"{one.name} ({_amounts(_for_workers(one.resources)) or 'nothing'})" for one in nodes)
    return "; ".join(shown)


def _for_workers(resources: dict[str, float]) -> dict[str, float]:
    """Without what Ray counts for itself."""
    return {
        name: amount
        for name, amount in sorted(resources.items())
        if name not in ("memory", "object_store_memory") and not name.startswith("node:")
    }


def _ray_start_words(takes: dict[str, float]) -> str:
    """Options of `ray start` that give a node what a worker takes."""
    words = []
    for name, amount in takes.items():
        if name in ("CPU", "GPU"):
            words.append(f"--num-{name.lower()}s={max(1, round(amount + 0.4999))}")
    custom = ", ".join(
        f'"{name}": {amount:g}' for name, amount in takes.items() if name not in ("CPU", "GPU")
    )
    return " ".join([*words, *([f"--resources='{{{custom}}}'"] if custom else [])])


def _name(*, host: str, address: str) -> str:
    return host if host in ("", address) else f"{host} ({address})"

"""Whether every node of a cluster has what the workers need, before any of them starts.

Otherwise a build of days would find out by its failures: another version of a library gives other
bytes, weights that are missing on one node end the build when the first worker starts there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from imig.engine import node_probe
from imig.engine.groups import Group
from imig.engine.node_probe import answer
from imig.engine.nodes import LOOK_SECONDS, Node, alive_nodes, holds_some
from imig.engine.plan import Plan
from imig.errors import UsageError
from imig.recipe.parts import EndpointConfig
from imig.shards.manifest import RECORDED_PACKAGES
from imig.stages.base import model_uses
from imig.stores.path import OutputPath

ANSWER_SECONDS: Final = 120.0
"""For a node to start a process and look at its packages; the first takes some seconds."""
SHOWN: Final = 3
"""Faults that one message names."""
_PACKAGES: Final = tuple(
    dict.fromkeys((*RECORDED_PACKAGES, "diffusers", "pandas", "peft", "pydantic", "safetensors"))
)

Answer = Mapping[str, Mapping[str, str | None]]


def check_nodes(plan: Plan, groups: Sequence[Group], *, state: OutputPath) -> None:
    """Raise UsageError for the first node that lacks something, or has another version of it.

    Parameters
    ----------
    state:
        Folder of the unfinished build; that of the parts lies in it.
    """
    token = f"here-{os.getpid()}"
    (state / token).write_bytes(b"")
    try:
        question = _question(plan, folder=str(state), token=token)
        here = answer(**question)
        answers = _ask([node for node in alive_nodes() if holds_some(node, groups)], question)
    finally:
        (state / token).unlink(missing_ok=True)
    for node, there in answers:
        if faults := list(differences(here, there)):
            named = "; ".join(fault for fault, _ in faults[:SHOWN])
            more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
            raise UsageError(f"node {node.name}: {named}{more}", cure=faults[0][1])


def differences(here: Answer, there: Answer) -> Iterator[tuple[str, str]]:
    """What the other machine lacks, and what is other there: each fault and its cure."""
    for name, version in here["packages"].items():
        other = there["packages"].get(name)
        if version is not None and other != version:
            has = f"{name} is {other} there" if other else f"{name} is not installed there"
            words = (
                "start its Ray with the same Python"
                if name == "python"
                else f"install the same on every node: pip install {name}=={version}"
            )
            yield f"{has}, and {version} here", words
    for name, code in here["code"].items():
        other = there["code"].get(name)
        # Where a version differs it has been said.
        if (
            code is not None
            and other != code
            and here["packages"].get(name) == there["packages"].get(name)
        ):
            how = "has other code there than here" if other else "cannot be imported there"
            yield f"{name} {how}", f"put the same {name} on every node"
    for path, size in here["paths"].items():
        other = there["paths"].get(path)
        if size is not None and other != size:
            how = f"has {other} bytes there, and {size} here" if other else "is not there"
            yield (
                f"{path} {how}",
                "weights and source must lie under the same path on every node: storage that all "
                "of them see, or a copy on each",
            )
    for name, value in here["variables"].items():
        if value is not None and there["variables"].get(name) is None:
            yield (
                f"the environment variable {name} is set here, and not there",
                "set it before `ray start`, on every node",
            )
    for folder, fault in there["output"].items():
        if fault:
            yield (
                f"the output {folder} {fault}",
                "give an --output on storage that all nodes see under the same path",
            )


def _question(plan: Plan, *, folder: str, token: str) -> dict[str, Any]:
    """The parameters of `answer` for a build."""
    source = plan.source
    weights = [path for one in plan.models for path in one.weights.files]
    endpoints = {
        use.config.key_variable
        for step in plan.steps
        for use in model_uses(step.stage.config)
        if isinstance(use.config, EndpointConfig)
    }
    extra = plan.loaded.recipe.extra
    paths = (*weights, *source.folders(), *source.files())
    return {
        "packages": _PACKAGES,
        "modules": tuple(sorted({one.stage.partition(":")[0] for one in extra})),
        "paths": tuple(sorted(map(str, set(paths)))),
        "variables": tuple(sorted(endpoints)),
        "folder": folder,
        "token": token,
    }


def _ask(nodes: Sequence[Node], question: Mapping[str, Any]) -> list[tuple[Node, Answer]]:
    """Ask all at once, and those again that have not answered, until they do or are gone.

    Ray itself takes a while to hear of a node that has just come, or has just gone away. Raises
    UsageError where one is there and does not answer.
    """
    from ray.exceptions import RayError

    answers: list[tuple[Node, Answer]] = []
    pending, deadline = list(nodes), time.monotonic() + ANSWER_SECONDS
    while pending:
        silent: list[tuple[Node, Exception]] = []
        for node, one in zip(pending, [_start(node, question) for node in pending], strict=True):
            try:
                answers.append((node, _finish(one, seconds=deadline - time.monotonic())))
            except RayError as error:
                silent.append((node, error))
        if silent:
            time.sleep(LOOK_SECONDS)
        there = {node.id for node in alive_nodes()}
        pending = [node for node, _ in silent if node.id in there]
        if pending and time.monotonic() > deadline:
            raise _no_answer(*next(one for one in silent if one[0] in pending))
    return answers


def _start(node: Node, question: Mapping[str, Any]) -> Any:
    """The reference of a node's answer."""
    import ray
    from ray import cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node.id, soft=False)
    probe: Any = answer
    task = ray.remote(probe).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
    # By value: the node may have no imig, or another one.
    cloudpickle.register_pickle_by_value(node_probe)  # type: ignore[no-untyped-call]
    try:
        return task.remote(**question)
    finally:
        cloudpickle.unregister_pickle_by_value(node_probe)  # type: ignore[no-untyped-call]


def _finish(reference: Any, *, seconds: float) -> Answer:
    import ray

    found: Answer = ray.get(reference, timeout=max(seconds, 1.0))
    return found


def _no_answer(node: Node, error: Exception) -> UsageError:
    reason = next(iter(str(error).strip().splitlines()[-1:]), type(error).__name__)
    return UsageError(
        f"node {node.name} cannot run imig's workers: {reason}",
        cure="look at Ray's logs there (/tmp/ray/session_latest/logs), or take it out of the "
        "cluster",
    )

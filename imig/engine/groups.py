"""Which stages share a worker process, and how many workers there are of each kind.

A process costs seconds before its first scene: it imports PyTorch and loads its models. Where
models are small, one worker a core (a few a GPU) therefore carries the whole run of stages: every
model is loaded once a worker, and scenes pass from stage to stage by reference. A stage gets
workers of its own where its weights, its share of a GPU or its `resources` ask for it; such stages
then work on different scenes at the same time.

Either way the batches are the same, cut from blocks alone, and so are the bytes of the dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from imig.engine.machine import Machine
from imig.recipe.parts import ModelConfig, Resources

Fuse = Literal["auto", "never", "always"]

SMALL_BYTES = 256 << 20
"""A stage whose weights are larger gets workers of its own."""
SMALL_TOGETHER_BYTES = 1 << 30
"""So does one that would make a shared worker's weights larger than this."""
WORKER_BYTES = 1 << 30
"""What a worker takes beside its weights: PyTorch, the model libraries, a block of scenes."""
WORKERS_A_GPU = 4
"""Small models leave most of a GPU to others while their worker reads and writes pictures."""
MEMORY_SHARE = 0.5
"""Of the machine's memory, at most, for workers that share stages; the rest is Ray's and yours."""


@dataclass(frozen=True)
class StageLoad:
    """What the decision is made from."""

    name: str
    resources: Resources
    models: Mapping[ModelConfig, int]
    """Each model that the stage loads, and the bytes of its weights."""

    asks_server: bool = False
    """It waits for answers over the network, meanwhile other stages should work."""

    @property
    def weights(self) -> int:
        return sum(self.models.values())

    @property
    def is_light(self) -> bool:
        """No model, here or elsewhere."""
        return not self.models and not self.asks_server


@dataclass(frozen=True)
class Group:
    """Consecutive stages that share a worker, and what their workers take."""

    stages: tuple[str, ...]
    workers: int
    cpus: float
    """Logical CPUs a worker."""
    gpus: float
    """GPUs a worker."""
    weights: int
    """Bytes of the weights that a worker loads, each model once."""
    custom: Mapping[str, float] = field(default_factory=dict)
    """What else a worker takes of its node, by Ray's name."""

    @property
    def name(self) -> str:
        return "+".join(self.stages)

    @property
    def takes(self) -> dict[str, float]:
        """All that a worker takes of its node, by Ray's names."""
        taken = {"CPU": self.cpus, "GPU": self.gpus, **self.custom}
        return {name: amount for name, amount in taken.items() if amount}


def group_stages(
    loads: Sequence[StageLoad], *, fuse: Fuse, machine: Machine, blocks: int
) -> list[Group]:
    """The workers of a build, in the order of its stages.

    Parameters
    ----------
    fuse:
        ``never``: a stage with a model shares its worker with no other. ``always``: all stages
        share theirs. ``auto``: as the module says.
    blocks:
        Of the build: more workers would have nothing to do.
    """
    runs = list(_runs(loads, fuse=fuse))
    shared = fuse == "always" or (fuse == "auto" and not any(map(_wants_own, loads)))
    if len(runs) == 1 and shared:
        return [_whole_build(runs[0], machine=machine, blocks=blocks)]
    return [_own_workers(run) for run in runs]


def second_copies(groups: Sequence[Group], loads: Sequence[StageLoad]) -> Iterator[tuple[str, int]]:
    """Models that workers of more than one group load: "key of the stages" and bytes too many."""
    by_name = {load.name: load for load in loads}
    owners: dict[ModelConfig, list[str]] = {}
    sizes: dict[ModelConfig, int] = {}
    for group in groups:
        for model, size in _models(by_name[name] for name in group.stages).items():
            users = [name for name in group.stages if model in by_name[name].models]
            owners.setdefault(model, []).append("+".join(users))
            sizes[model] = size
    for model, names in owners.items():
        if len(names) > 1:
            yield (
                f"{model.family}:{model.weights} in {', '.join(names)}",
                (sizes[model] * (len(names) - 1)),
            )


def _runs(loads: Sequence[StageLoad], *, fuse: Fuse) -> Iterator[tuple[StageLoad, ...]]:
    run: list[StageLoad] = []
    for load in loads:
        if run and not _joins(run, load, fuse=fuse):
            yield tuple(run)
            run = []
        run.append(load)
    if run:
        yield tuple(run)


def _joins(run: Sequence[StageLoad], load: StageLoad, *, fuse: Fuse) -> bool:
    if fuse == "always":
        return True
    last = run[-1]
    if fuse == "never":
        return last.is_light and load.is_light and _same_resources(last, load)
    if load.models and _same_resources(last, load) and load.models.keys() <= _models(run).keys():
        # It needs nothing that the worker has not loaded already.
        return True
    if any(map(_wants_own, run)) or _wants_own(load):
        return last.is_light and load.is_light and _same_resources(last, load)
    return sum(_models([*run, load]).values()) <= SMALL_TOGETHER_BYTES


def _wants_own(load: StageLoad) -> bool:
    return not _same(load.resources, Resources()) or load.asks_server or load.weights > SMALL_BYTES


def _same_resources(a: StageLoad, b: StageLoad) -> bool:
    return _same(a.resources, b.resources)


def _same(a: Resources, b: Resources) -> bool:
    """But for what every stage keeps for itself: batch size and timeout."""
    own = {"batch_size": a.batch_size, "timeout": a.timeout}
    return a == b.model_copy(update=own)


def _models(loads: Iterator[StageLoad] | Sequence[StageLoad]) -> dict[ModelConfig, int]:
    return {model: size for load in loads for model, size in load.models.items()}


def _whole_build(run: Sequence[StageLoad], *, machine: Machine, blocks: int) -> Group:
    """One kind of worker for everything: one a core, but not more than a few a GPU."""
    weights = sum(_models(run).values())
    cpus = max(load.resources.cpus for load in run)
    gpus = min(1.0, sum(load.resources.gpus for load in run))
    if not gpus and machine.gpus and any(map(_may_take_gpu, _models(run))):
        gpus = 1.0 / WORKERS_A_GPU
    most = int(machine.cpus / max(cpus, 1.0))
    if gpus:
        most = min(most, int(machine.gpus / gpus + 1e-6))
    fitting = int(machine.memory * MEMORY_SHARE) // (WORKER_BYTES + weights)
    return Group(
        stages=tuple(load.name for load in run),
        workers=max(1, min(most, fitting, blocks)),
        cpus=cpus,
        gpus=gpus,
        weights=weights,
        custom=_custom(run),
    )


def _may_take_gpu(model: ModelConfig) -> bool:
    return model.device != "cpu"


def _own_workers(run: Sequence[StageLoad]) -> Group:
    return Group(
        stages=tuple(load.name for load in run),
        workers=max(load.resources.concurrency for load in run),
        cpus=max(load.resources.cpus for load in run),
        gpus=max(load.resources.gpus for load in run),
        weights=sum(_models(run).values()),
        custom=_custom(run),
    )


def _custom(run: Sequence[StageLoad]) -> dict[str, float]:
    """Of what any stage of the run asks for, the most."""
    asked: dict[str, float] = {}
    for load in run:
        for name, amount in load.resources.custom.items():
            asked[name] = max(amount, asked.get(name, 0.0))
    return asked

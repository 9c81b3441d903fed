"""What the workers of a build take of a GPU's memory, and which of them do not fit together.

Of a worker: the weights of its models, each once; what lives at the same time of a forward pass, of
the stage that has most of it; and CUDA's own. The last is a guess, and so are activations where the
network of another architecture has to stand in (`imig.estimate.passes`), or none can. What an
allocator loses to fragments is in no figure: hence `TIGHT`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from imig.estimate.memory import CONTEXT_BYTES
from imig.estimate.passes import Pass, is_counted, stage_costs
from imig.estimate.placing import Asking, place
from imig.estimate.weights import Weights, weigh
from imig.models.weights import TINY, find_family
from imig.recipe.parts import ModelConfig, StageConfig
from imig.recipe.root import Recipe
from imig.stages.base import model_uses

INSTANCES: Final = 4
"""Assumed: of a scene."""
TIGHT: Final = 0.9
"""Share of a GPU's memory above which it is said that it may not fit after all."""
TINY_ACTIVATIONS: Final = 100_000_000
"""A guess: bytes, whatever the batch; nets of a few million parameters at 256 pixels."""
PICTURE_BYTES: Final = 50_000_000
"""A guess for networks that none stands in for: activations of a picture,"""
PICTURE_SHARE: Final = 0.05
"""and this share of the weights: the keys and values of a language model."""

ActivationsHow = Literal["counted", "guessed", ""]


@dataclass(frozen=True)
class Activations:
    """Bytes that live at once in a forward pass."""

    bytes: int
    how: ActivationsHow


@dataclass(frozen=True)
class StageUse:
    """A stage that takes part: what of it decides about memory."""

    name: str
    config: StageConfig
    models: tuple[ModelConfig, ...]
    """That run on a GPU."""


@dataclass(frozen=True)
class WorkerKind:
    """Workers that are alike, and what each of them takes."""

    stages: tuple[StageUse, ...]
    workers: int
    gpus: float
    weights: Mapping[ModelConfig, Weights]
    activations: Activations

    @property
    def name(self) -> str:
        return "+".join(one.name for one in self.stages)

    @property
    def resident(self) -> int:
        """Bytes of weights on the GPU."""
        return sum(one.resident(model.offload) for model, one in self.weights.items())

    @property
    def offloaded(self) -> int:
        """Bytes of weights that the machine's memory holds for the GPU."""
        return sum(one.whole for model, one in self.weights.items() if model.offload != "none")

    @property
    def together(self) -> int:
        """Bytes on the GPU."""
        return self.resident + self.activations.bytes + CONTEXT_BYTES

    @property
    def unknown(self) -> list[ModelConfig]:
        """Models whose size nobody can tell."""
        return [model for model, one in self.weights.items() if one.how == "unknown"]


@dataclass(frozen=True)
class Gpu:
    """A GPU, and the workers that share it."""

    kinds: tuple[WorkerKind, ...]
    """One entry a worker."""
    memory: int

    @property
    def needed(self) -> int:
        return sum(one.together for one in self.kinds)

    @property
    def is_too_small(self) -> bool:
        return self.needed > self.memory

    @property
    def is_tight(self) -> bool:
        return TIGHT * self.memory < self.needed <= self.memory

    def with_kind(self, kind: WorkerKind, *, instead_of: WorkerKind) -> Gpu:
        kinds = tuple(kind if one is instead_of else one for one in self.kinds)
        return replace(self, kinds=kinds)


def on_gpu(config: StageConfig) -> tuple[ModelConfig, ...]:
    """Models of a stage that run on a GPU, where there is one."""
    models = [one.config for one in model_uses(config) if isinstance(one.config, ModelConfig)]
    return tuple(
        one for one in models if one.device != "cpu" and find_family(one.family).layout != "program"
    )


def worker_kind(
    recipe: Recipe, stages: Sequence[StageUse], *, workers: int, gpus: float
) -> WorkerKind:
    """Workers that carry these stages. Networks are counted, which takes seconds each."""
    weights = {model: weigh(model) for stage in stages for model in stage.models}
    each = [_activations(recipe, stage, weights) for stage in stages if stage.models]
    most = max(each, key=lambda one: one.bytes, default=Activations(0, ""))
    return WorkerKind(tuple(stages), workers, gpus, weights, most)


def share_gpus(kinds: Sequence[WorkerKind], *, memory: int) -> list[Gpu]:
    """The GPUs that workers fill, each with so many bytes; those without a model take none."""
    using = {one.name: one for one in kinds if one.weights}
    asking = [Asking(one.name, one.gpus, one.workers) for one in using.values()]
    placed = place(asking)
    return [Gpu(tuple(using[name] for name in names), memory) for names in placed if names]


def changes_until_it_fits(recipe: Recipe, gpu: Gpu) -> tuple[list[str], Gpu]:
    """Settings after which a GPU holds what is put onto it, and what it holds then.

    At every step the largest worker is changed: the mildest change after which all fits (smaller
    batches, then one network at a time, then one layer), else the one that saves most. Where even
    all of them are not enough, the GPU that is returned is too small still.
    """
    settings: list[str] = []
    while gpu.is_too_small or gpu.is_tight:
        changed = list(_changed(recipe, gpu))
        if not changed:
            break
        fitting = [one for one in changed if not (one[1].is_too_small or one[1].is_tight)]
        setting, gpu = fitting[0] if fitting else min(changed, key=lambda one: one[1].needed)
        key = setting.partition("=")[0]
        settings = [*(one for one in settings if one.partition("=")[0] != key), setting]
    return settings, gpu


def _changed(recipe: Recipe, gpu: Gpu) -> Iterator[tuple[str, Gpu]]:
    """Each setting that makes one of the workers smaller: the largest of which there is any."""
    for largest in sorted(_each_once(gpu.kinds), key=lambda one: -one.together):
        found = []
        for stage in largest.stages:
            for setting, change in _changes(recipe, stage):
                stages = [change(one) if one is stage else one for one in largest.stages]
                kind = worker_kind(recipe, stages, workers=largest.workers, gpus=largest.gpus)
                if kind.together < largest.together:
                    found.append((setting, gpu.with_kind(kind, instead_of=largest)))
        if found:
            yield from found
            return


def _each_once(kinds: Sequence[WorkerKind]) -> list[WorkerKind]:
    return list({one.name: one for one in kinds}.values())


def _changes(
    recipe: Recipe, stage: StageUse
) -> Iterator[tuple[str, Callable[[StageUse], StageUse]]]:
    batch = stage.config.resources.first_batch_size(recipe.engine.block_size)
    while batch > 1:
        batch //= 2
        yield f"{stage.name}.resources.batch_size={batch}", _batch_change(batch)
    for offload in ("model", "sequential"):
        for use in model_uses(stage.config):
            model = use.config
            if model not in stage.models or not find_family(model.family).takes_offload:
                continue
            if model.offload == "none" or (model.offload, offload) == ("model", "sequential"):
                yield f"{stage.name}.{use.field}.offload={offload}", _offload_change(model, offload)


def _batch_change(batch: int) -> Callable[[StageUse], StageUse]:
    def change(stage: StageUse) -> StageUse:
        resources = stage.config.resources.model_copy(update={"batch_size": batch})
        return replace(stage, config=stage.config.model_copy(update={"resources": resources}))

    return change


def _offload_change(model: ModelConfig, offload: str) -> Callable[[StageUse], StageUse]:
    def change(stage: StageUse) -> StageUse:
        moved = model.model_copy(update={"offload": offload})
        return replace(stage, models=tuple(moved if one == model else one for one in stage.models))

    return change


def _activations(
    recipe: Recipe, stage: StageUse, weights: Mapping[ModelConfig, Weights]
) -> Activations:
    """Of the stage's model that has most."""
    batch = stage.config.resources.first_batch_size(recipe.engine.block_size)
    passes = _passes(recipe, stage)
    found = []
    for model in stage.models:
        own = [one for one in passes if _alike(one.model, model)]
        if own:
            most = max(own, key=lambda one: one.activation_bytes)
            how: ActivationsHow = "guessed" if most.stands_in else "counted"
            found.append(Activations(most.activation_bytes, how))
        elif model.weights == TINY:
            found.append(Activations(TINY_ACTIVATIONS, "guessed"))
        else:
            each = PICTURE_BYTES + PICTURE_SHARE * weights[model].whole
            found.append(Activations(round(batch * each), "guessed"))
    return max(found, key=lambda one: one.bytes)


def _passes(recipe: Recipe, stage: StageUse) -> list[Pass]:
    """What is counted of a stage with these settings."""
    if stage.name not in type(recipe).model_fields or not any(map(is_counted, stage.models)):
        return []
    changed = recipe.model_copy(update={stage.name: stage.config})
    costs = stage_costs(changed, instances=INSTANCES, stand_ins=True)
    return [one for cost in costs if cost.stage == stage.name for one in cost.passes]


def _alike(a: ModelConfig, b: ModelConfig) -> bool:
    """But for what is kept where."""
    return a.model_copy(update={"offload": b.offload}) == b

"""Whether a plan's workers fit into the GPUs' memory, as `imig build --plan` prints it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from imig.console.lines import say
from imig.engine.groups import Group, StageLoad, group_stages
from imig.engine.machine import Machine, local_machine
from imig.engine.plan import Plan
from imig.estimate.cards import GIB, Cards
from imig.estimate.memory import CONTEXT_BYTES
from imig.estimate.weights import weigh
from imig.estimate.workers import (
    INSTANCES,
    Gpu,
    StageUse,
    WorkerKind,
    changes_until_it_fits,
    on_gpu,
    share_gpus,
    worker_kind,
)
from imig.models.weights import TINY
from imig.recipe.file import LoadedRecipe
from imig.recipe.parts import ModelConfig
from imig.recipe.root import Recipe
from imig.recipe.stages import build_stages
from imig.stages.base import Stage
from imig.stores.path import OutputPath

_MANY_BLOCKS: Final = 1_000_000
"""Of a build of which it is not known how many it has."""


def print_memory(plan: Plan, cards: Cards, console: Console) -> None:
    """A line a worker and a verdict a GPU; networks are counted, which takes seconds."""
    stages = [step.stage for step in plan.steps]
    groups = plan.groups(_machine(cards))
    _print(plan.loaded.recipe, stages, groups, cards, console)


def print_memory_without_weights(
    loaded: LoadedRecipe, output: OutputPath, cards: Cards, console: Console
) -> None:
    """The same of a recipe that cannot be planned here, because its weights are not on this disk.

    Raises UsageError when its stages cannot be made either.
    """
    stages = build_stages(loaded.recipe, output=output if isinstance(output, Path) else None)
    loads = [
        StageLoad(
            name=stage.name,
            resources=stage.config.resources,
            models={model: weigh(model).whole for model in _models(stage)},
        )
        for stage in stages
    ]
    groups = group_stages(
        loads, fuse=loaded.recipe.engine.fuse, machine=_machine(cards), blocks=_MANY_BLOCKS
    )
    _print(loaded.recipe, stages, groups, cards, console)


def _machine(cards: Cards) -> Machine:
    """This one, if it had those cards."""
    return replace(local_machine(), gpus=cards.count or 1)


def has_large_models(plan: Plan) -> bool:
    """Whether a worker has models on a GPU that are worth an estimate."""
    return any(one.weights != TINY for step in plan.steps for one in _models(step.stage))


def _models(stage: Stage) -> tuple[ModelConfig, ...]:
    return () if stage.skipped() is not None else on_gpu(stage.config)


def _print(
    recipe: Recipe,
    stages: Sequence[Stage],
    groups: Sequence[Group],
    cards: Cards,
    console: Console,
) -> None:
    uses = {one.name: StageUse(one.name, one.config, _models(one)) for one in stages}
    kinds = [
        worker_kind(
            recipe, [uses[name] for name in group.stages], workers=group.workers, gpus=group.gpus
        )
        for group in groups
    ]
    kinds = [one for one in kinds if one.weights]
    if not kinds:
        say(console, "memory: no stage has a model on a GPU")
        return
    gpus = share_gpus(kinds, memory=cards.card.memory)
    say(console, f"memory of a worker on {_card(cards)}, an estimate: nothing has been loaded")
    console.print(_table(kinds), highlight=False)
    for number, gpu in enumerate(gpus):
        _print_gpu(recipe, number, gpu, console)
    if cards.count is not None and len(gpus) > cards.count:
        say(
            console,
            f"the workers ask for {len(gpus)} GPUs, and there are {cards.count}: lower "
            "resources.gpus (fractions share one) or resources.concurrency",
            style="yellow",
        )
    if offloaded := sum(one.offloaded * one.workers for one in kinds):
        say(console, f"the machine's memory holds {_gib(offloaded)} of offloaded weights")
    for note in _notes(kinds):
        say(console, note)


def _table(kinds: Sequence[WorkerKind]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("worker", overflow="fold", min_width=12)
    for name in ("workers", "GPU", "weights", "activations", "together"):
        table.add_column(name, justify="right", no_wrap=True)
    for kind in kinds:
        table.add_row(
            kind.name,
            str(kind.workers),
            f"{kind.gpus:g}",
            f"{_gib(kind.resident)} {_weights_how(kind)}",
            f"{_gib(kind.activations.bytes)} {kind.activations.how}",
            _gib(kind.together) + (" and more" if kind.unknown else ""),
        )
    return table


def _print_gpu(recipe: Recipe, number: int, gpu: Gpu, console: Console) -> None:
    counts = Counter(one.name for one in gpu.kinds)
    names = ", ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items())
    held = f"GPU {number}: {_gib(gpu.needed)} of {_gib(gpu.memory)} by {names}"
    if not (gpu.is_too_small or gpu.is_tight):
        say(console, f"{held}: fits")
        return
    if gpu.is_tight:
        say(console, f"{held}: tight, it may not fit after all", style="yellow")
    else:
        say(console, f"{held}: WILL NOT FIT", style="red")
    for line in _cures(recipe, gpu):
        say(console, f"  {line}")


def _cures(recipe: Recipe, gpu: Gpu) -> Iterator[str]:
    settings, changed = changes_until_it_fits(recipe, gpu)
    if settings:
        words = " ".join(f"--set {one}" for one in settings)
        enough = "which is not enough" if changed.is_too_small else "which fits"
        enough = "which is tight" if changed.is_tight else enough
        yield f"{words}: {_gib(changed.needed)}, {enough}"
    if len(gpu.kinds) > 1:
        yield "or more GPUs: larger shares in resources.gpus put fewer workers on one"


def _notes(kinds: Sequence[WorkerKind]) -> Iterator[str]:
    """What is counted and what is guessed."""
    hows = {one.how for kind in kinds for one in kind.weights.values()}
    if "counted" in hows:
        yield (
            "weights, counted: parameters of the published architecture, built without memory, in "
            "the number format that imig keeps"
        )
    if "files" in hows:
        yield (
            "weights, files: numbers in the files on this disk; what is no safetensors is taken "
            "for float32"
        )
    if "published" in hows:
        yield "weights, published: the size of the download; the weights are not on this disk"
    for kind in kinds:
        for model in kind.unknown:
            yield (
                f"weights, unknown: {model.family}:{model.weights} is neither on this disk nor in "
                "the table of `imig models list`: not in the sum"
            )
    yield (
        "activations, counted: what lives at once of a forward pass at the recipe's sizes and "
        f"batches, {INSTANCES} instances a scene, fused attention; without an allocator's fragments"
    )
    yield f"guessed: {_gib(CONTEXT_BYTES)} a worker for CUDA itself, in `together`"
    if any(kind.activations.how == "guessed" for kind in kinds):
        yield (
            "activations, guessed: another network has stood in, or a share of the weights; for "
            "tiny models a constant"
        )


def _weights_how(kind: WorkerKind) -> str:
    """Of several models: in the order of how sure it is, the least sure last."""
    order = ("counted", "files", "published", "unknown")
    hows = {one.how for one in kind.weights.values()}
    return "+".join(one for one in order if one in hows)


def _card(cards: Cards) -> str:
    count = f"{cards.count} x " if cards.count not in (None, 1) else ""
    return f"{count}{cards.card.name} ({_gib(cards.card.memory)})"


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"

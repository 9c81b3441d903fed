"""The plan as `imig build --plan` prints it."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from imig.console.lines import say
from imig.endpoint.endpoint import FAMILY as ENDPOINT_FAMILY
from imig.engine.groups import Group, second_copies
from imig.engine.machine import local_machine
from imig.engine.plan import Plan, Step
from imig.schema import ModelRecord

MEGABYTE = 1_000_000


def print_plan(plan: Plan, console: Console) -> None:
    """Stages in their order, what each reads and writes, its models, and what it takes."""
    recipe = plan.loaded.recipe
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("stage", "reads", "writes", "models", "weights", "batch"):
        table.add_column(name, overflow="fold")
    for step in plan.steps:
        models = [one for one in plan.models if one.key.startswith(f"{step.stage.name}.")]
        table.add_row(
            step.stage.name,
            " ".join(sorted(step.stage.reads)),
            " ".join(sorted(step.stage.writes)),
            "\n".join(
                [
                    *(escape(f"{one.config.family}:{one.config.weights}") for one in models),
                    *(escape(f"{one.family}:{one.weights}") for one in _endpoints(step)),
                ]
            ),
            "\n".join(escape(str(one.weights.path)) for one in models),
            str(step.resources.batch_size),
        )
    console.print(f"[bold]{recipe.name}[/]  {escape(plan.loaded.where(''))}", highlight=False)
    console.print(table, highlight=False)
    for number, line in enumerate(plan.source.describe()):
        label = "  " if number else "source: "
        say(console, label + line)
    if recipe.engine.ray_address is not None:
        console.print("workers as for this machine; the cluster is asked when the build starts")
    groups = plan.groups(local_machine())
    for group in groups:
        say(console, _workers(group))
    for what, size in second_copies(groups, plan.loads):
        if size < MEGABYTE:
            continue  # a program, not weights
        say(console, f"loaded more than once: {what}: {_megabytes(size)} more")
    print_skipped(plan, console)
    print_remarks(plan, console)
    say(
        console,
        f"{plan.scenes} scenes in {plan.blocks} blocks of {plan.block_size}, "
        f"up to {plan.shards} shards -> {plan.output}",
    )


def print_remarks(plan: Plan, console: Console) -> None:
    """A line for each kind of oddity in the source's listing."""
    for remark in plan.source.remarks():
        say(console, f"source: {remark}", style="yellow")


def print_skipped(plan: Plan, console: Console) -> None:
    """A line for each stage that will do nothing, and why."""
    for one in plan.skipped:
        say(console, f"skipped: {one.stage}: {one.reason}", style="yellow")


def _endpoints(step: Step) -> list[ModelRecord]:
    """Models of the stage whose weights are not here."""
    return [record for record in step.stage.models() if record.family == ENDPOINT_FAMILY]


def _workers(group: Group) -> str:
    """`2 workers (1 CPU each, 30 MB of weights): source, draw, ground`."""
    takes = [f"{group.cpus:g} CPU"]
    if group.gpus:
        takes.append(f"{group.gpus:g} GPU")
    each = " each" if group.workers > 1 else ""
    weights = f", {_megabytes(group.weights)} of weights" if group.weights >= MEGABYTE else ""
    plural = "s" if group.workers > 1 else ""
    return (
        f"{group.workers} worker{plural} ({', '.join(takes)}{each}{weights}): "
        f"{', '.join(group.stages)}"
    )


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:,.0f} MB"

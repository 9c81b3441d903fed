"""The plan as `imig build --plan` prints it."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from imig.engine.plan import Plan, Step
from imig.models.endpoint import FAMILY as ENDPOINT_FAMILY
from imig.schema import ModelRecord


def print_plan(plan: Plan, console: Console) -> None:
    """Stages in their order, what each reads and writes, its models, and what it takes."""
    recipe = plan.loaded.recipe
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("stage", "reads", "writes", "models", "weights", "workers"):
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
            _workers(step),
        )
    console.print(f"[bold]{recipe.name}[/]  {escape(plan.loaded.where(''))}", highlight=False)
    console.print(table, highlight=False)
    print_skipped(plan, console)
    console.print(
        f"{plan.scenes} scenes in {plan.blocks} blocks of {plan.block_size}, "
        f"up to {plan.shards} shards -> {escape(str(plan.output))}",
        highlight=False,
    )


def print_skipped(plan: Plan, console: Console) -> None:
    """A line for each stage that will do nothing, and why."""
    for one in plan.skipped:
        console.print(
            f"skipped: {one.stage}: {escape(one.reason)}",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )


def _endpoints(step: Step) -> list[ModelRecord]:
    """Models of the stage whose weights are not here."""
    return [record for record in step.stage.models() if record.family == ENDPOINT_FAMILY]


def _workers(step: Step) -> str:
    one = step.resources
    gpus = f", {one.gpus:g} GPU" if one.gpus else ""
    return f"{one.concurrency} x ({one.cpus:g} CPU{gpus}), batches of {one.batch_size}"

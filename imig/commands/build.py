"""`imig build`: a dataset from a recipe."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from imig.commands.common import (
    DEFAULT_SHARDS,
    Commands,
    add_flag,
    add_overrides,
    console,
    host_and_port,
    new_command,
    positive,
)
from imig.console.json_log import JsonLog
from imig.errors import UsageError
from imig.stores.path import OutputPath
from imig.stores.places import output_folder

if TYPE_CHECKING:
    from imig.recipe.file import LoadedRecipe

_EXAMPLES = """\
examples:
  imig build demo --limit 24 --output /tmp/shards
  imig build demo --set ground.box_threshold=0.4 --set source.count=1000
  imig build photos --set source.path=~/photos --set models=tiny
  imig build pipelines/photos.yaml --set source.path=~/photos --plan
  imig build complex --plan --card h100    # does it fit? before any weights are here
  imig build basic complex flexible --set models=tiny --output parts    # parts/basic, ...
  imig build photos --set engine.ray_address=auto --log json --metrics 0.0.0.0:9400

A build that was stopped or killed goes on where it was when the same command is given again.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands, "build", summary="build a dataset from a recipe", examples=_EXAMPLES
    )
    command.add_argument(
        "recipes",
        nargs="+",
        metavar="RECIPE",
        help="a YAML file, or a name: `imig recipes`; several are built one after the other",
    )
    command.add_argument(
        "--output",
        type=output_folder,
        default=DEFAULT_SHARDS,
        metavar="DIR",
        help="folder of the dataset, or its address: s3://BUCKET/FOLDER, gs://BUCKET/FOLDER "
        "(default: %(default)s); with several recipes the folder that holds one for each, named "
        "after it",
    )
    command.add_argument(
        "--limit", type=positive, metavar="N", help="only the first N scenes of the source"
    )
    add_overrides(
        command,
        explanation="override a key of the recipe; `filter=null` removes a stage, `models=tiny` "
        "sets the weights of every model",
    )
    command.add_argument(
        "--log",
        choices=("text", "json"),
        default="text",
        help="json: beside the lines on stdout, a JSON object a line on stderr for machines: "
        "started, workers, progress, warning, finished, error, stopped",
    )
    command.add_argument(
        "--metrics",
        type=host_and_port,
        metavar="[HOST:]PORT",
        help="answer Prometheus at http://HOST:PORT/metrics while the build runs; without HOST at "
        "127.0.0.1 only, 0.0.0.0 is every address of the machine",
    )
    add_flag(command, "--plan", "check and print what would be done, and stop")
    command.add_argument(
        "--card",
        metavar="GPU",
        help="with --plan: say whether the workers fit into such GPUs (h100, a100-40, 4090, "
        "8xh100, or a number of GiB); default: those that are here",
    )
    add_flag(command, "--overwrite", "delete the dataset that is in the folder first")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.engine.build import build_each
    from imig.engine.json_events import JsonEvents
    from imig.engine.metrics import metrics_server
    from imig.engine.plan import make_plan
    from imig.engine.status import BuildObserver
    from imig.recipe.file import load_recipe

    if options.card is not None and not options.plan:
        raise UsageError("--card says for which GPU to plan", cure="add --plan")
    recipes = [load_recipe(one, overrides=options.overrides) for one in options.recipes]
    outputs = _outputs([one.recipe.name for one in recipes], options.output)
    if options.plan:
        for loaded, output in zip(recipes, outputs, strict=True):
            _print_plan(loaded, output, limit=options.limit, card=options.card)
        return 0
    plans = [
        make_plan(loaded, output=output, limit=options.limit)
        for loaded, output in zip(recipes, outputs, strict=True)
    ]
    observers: list[BuildObserver] = []
    with ExitStack() as stack:
        if options.log == "json":
            observers.append(JsonEvents(JsonLog(sys.stderr)))
        if options.metrics is not None:
            observers.append(stack.enter_context(metrics_server(options.metrics)))
        build_each(plans, console(), overwrite=options.overwrite, observers=observers)
    return 0


def _print_plan(
    loaded: LoadedRecipe, output: OutputPath, *, limit: int | None, card: str | None
) -> None:
    """Print a plan, and whether it fits into the memory of GPUs that are named, or here.

    With `card` the second is said even where the first cannot be made, because weights are missing.
    """
    from imig.engine.plan import make_plan
    from imig.engine.plan_text import print_plan
    from imig.estimate.cards import cards_here, parse_cards

    cards = parse_cards(card) if card is not None else None
    try:
        plan = make_plan(loaded, output=output, limit=limit)
    except UsageError:
        if cards is not None:
            from imig.engine.plan_memory import print_memory_without_weights

            with suppress(UsageError):  # it is the same, or less to the point
                print_memory_without_weights(loaded, output, cards, console())
        raise
    print_plan(plan, console())
    cards = cards or cards_here()
    if cards is not None:
        from imig.engine.plan_memory import has_large_models, print_memory

        if card is not None or has_large_models(plan):
            print_memory(plan, cards, console())


def _outputs(names: Sequence[str], output: OutputPath) -> list[OutputPath]:
    """The folder of each recipe's dataset. Raises UsageError when two would share one."""
    if len(names) == 1:
        return [output]
    for name, count in Counter(names).items():
        if count > 1:
            raise UsageError(
                f"{count} of the recipes have the name {name!r}, which names their folders",
                cure="build them one by one, each with its own --output",
            )
    return [output / name for name in names]

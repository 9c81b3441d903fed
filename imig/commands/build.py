"""`imig build`: a dataset from a recipe."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imig.commands.common import (
    DEFAULT_SHARDS,
    add_overrides,
    console,
    local_path,
    new_command,
    positive,
)

if TYPE_CHECKING:
    from imig.commands.common import Commands

_EXAMPLES = """\
examples:
  imig build demo --limit 24 --output /tmp/shards
  imig build demo --set ground.box_threshold=0.4 --set source.count=1000
  imig build photos --set source.path=~/photos --set models=tiny
  imig build pipelines/photos.yaml --set source.path=~/photos --plan

A build that was stopped or killed goes on where it was when the same command is given again.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands, "build", summary="build a dataset from a recipe", examples=_EXAMPLES
    )
    command.add_argument("recipe", metavar="RECIPE", help="a YAML file, or a name: `imig recipes`")
    command.add_argument(
        "--output",
        type=local_path,
        default=DEFAULT_SHARDS,
        metavar="DIR",
        help="folder of the dataset (default: %(default)s)",
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
        "--plan", action="store_true", help="check and print what would be done, and stop"
    )
    command.add_argument(
        "--overwrite", action="store_true", help="delete the dataset that is in the folder first"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.engine.build import build
    from imig.engine.plan import make_plan
    from imig.engine.plan_text import print_plan
    from imig.recipe_file import load_recipe

    loaded = load_recipe(options.recipe, overrides=options.overrides)
    plan = make_plan(loaded, output=options.output, limit=options.limit)
    if options.plan:
        print_plan(plan, console())
    else:
        build(plan, console(), overwrite=options.overwrite)
    return 0

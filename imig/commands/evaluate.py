"""`imig evaluate`: generated pictures measured against what was asked for."""

from __future__ import annotations

import argparse
from pathlib import Path

from imig.commands.common import (
    Commands,
    add_flag,
    add_overrides,
    beside,
    console,
    new_command,
    print_json,
    print_line,
)
from imig.paths import input_path, output_path

_EXAMPLES = """\
examples:
  imig evaluate pictures/ --against shards-split/validation
  imig evaluate pictures/ --against layouts/
  imig evaluate pictures/ --against shards-split/validation --set models=tiny

A picture is named as its case, ID.png or, of several seeds, ID-SEED.png: the id of a scene, or the
name of a layout file. Pictures of no case are left out, and said.

Written into the output folder: evaluation.json (figures with intervals, every setting, the models'
revisions, the cases' checksums) and pictures.jsonl (what was measured of each picture). Results of
an earlier evaluation there are replaced; pictures that were measured with the same settings, models
and cases are not measured again.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands,
        "evaluate",
        summary="measure generated pictures against what was asked for",
        examples=_EXAMPLES,
    )
    command.add_argument(
        "generated", type=input_path, metavar="GENERATED", help="folder of the pictures"
    )
    command.add_argument(
        "--against",
        required=True,
        metavar="CASES",
        help="a dataset's folder, layout files, or BENCHMARK=PATH of its published files",
    )
    command.add_argument(
        "--recipe",
        metavar="RECIPE",
        help="what is measured, and with which models: a YAML file, or a name: `imig recipes` "
        "(default: the benchmark's, else evaluate)",
    )
    add_overrides(command, explanation="override a key of the recipe; models=tiny needs no GPU")
    command.add_argument(
        "--output",
        type=output_path,
        metavar="DIR",
        help="folder of the results (default: GENERATED-evaluation)",
    )
    command.add_argument(
        "--training",
        action="append",
        default=[],
        metavar="DIR",
        help="a dataset that the model was trained on: says how many cases it has seen",
    )
    add_flag(command, "--partial", "measure what is there, where cases have no picture")
    add_flag(command, "--json", "print the result as JSON")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.startup import objects_that_stay

    with objects_that_stay():
        from imig.evaluation.against import open_against
        from imig.evaluation.recipe_file import load_evaluation_recipe
        from imig.evaluation.run import RESULT_NAME, evaluate
        from imig.evaluation.table import result_to_lines

    against = open_against(options.against)
    loaded = load_evaluation_recipe(
        options.recipe or default_recipe(against.kind), overrides=options.overrides
    )
    output: Path = options.output or beside(options.generated, "evaluation")
    result = evaluate(
        options.generated,
        against,
        loaded.recipe,
        output=output,
        partial=options.partial,
        training=options.training,
        console=console(),
    )
    if options.json:
        print_json(result.model_dump(mode="json"))
        return 0
    for line in result_to_lines(result):
        print_line(line)
    print_line(str(output / RESULT_NAME))
    return 0


def default_recipe(kind: str) -> str:
    """Of a benchmark the one that measures what its paper prints, else `evaluate`."""
    from imig.recipe.shipped import shipped_recipes

    return kind if kind in shipped_recipes() else "evaluate"

"""`imig evaluate`: generated pictures measured against what was asked for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from imig.commands.common import (
    Commands,
    add_flag,
    add_overrides,
    beside,
    console,
    new_command,
    positive,
    print_json,
    print_line,
)
from imig.errors import UsageError
from imig.paths import input_path, output_path

if TYPE_CHECKING:
    from imig.evaluation.case import Against
    from imig.evaluation.result import EvaluationResult

_EXAMPLES = """\
examples:
  imig evaluate pictures/ --against shards-split/validation
  imig evaluate pictures/ --against layouts/
  imig evaluate pictures/ --against shards-split/validation --set models=tiny
  imig evaluate --compare bench/one/evaluation.json bench/two/evaluation.json

A picture is named as its case, ID.png or, of several seeds, ID-SEED.png: the id of a scene, or the
name of a layout file. Pictures of no case are left out, and said.

Written into the output folder: evaluation.json (figures with intervals, every setting, the models'
revisions, the cases' checksums), pictures.jsonl (what was measured of each picture) and worst.html
(the worst cases, to look at). Results of
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
        "generated",
        nargs="?",
        type=input_path,
        metavar="GENERATED",
        help="folder of the pictures",
    )
    command.add_argument(
        "--against",
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
    add_flag(command, "--partial", "leave out cases that have no picture, or a damaged one")
    add_worst_options(command)
    command.add_argument(
        "--compare",
        nargs=2,
        type=input_path,
        metavar="EVALUATION.json",
        help="instead: the differences of two evaluations of the same cases, with intervals",
    )
    add_flag(command, "--json", "print the result as JSON")
    command.set_defaults(run=run)


def add_worst_options(command: argparse.ArgumentParser) -> None:
    """The options of the page of worst cases."""
    command.add_argument(
        "--worst",
        type=_count,
        default=12,
        metavar="N",
        help="pictures on the page of worst cases; 0: no page (default: %(default)s)",
    )
    command.add_argument(
        "--worst-by",
        metavar="FIGURE",
        help="which figure says how bad a picture is (default: the first one)",
    )


def run(options: argparse.Namespace) -> int:
    from imig.startup import objects_that_stay

    with objects_that_stay():
        from imig.evaluation.against import open_against
        from imig.evaluation.recipe_file import default_recipe, load_evaluation_recipe
        from imig.evaluation.run import evaluate

    if options.compare is not None:
        return _compare(options)
    if options.generated is None or options.against is None:
        raise UsageError(
            "give the folder of the pictures, and --against what they were drawn of",
            cure="or two results: --compare one/evaluation.json two/evaluation.json",
        )
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
    show_result(result, against, root=options.generated, output=output, options=options)
    return 0


def show_result(
    result: EvaluationResult,
    against: Against,
    *,
    root: Path,
    output: Path,
    options: argparse.Namespace,
) -> None:
    """Write the page of worst cases, and print the result."""
    from imig.evaluation.run import RESULT_NAME
    from imig.evaluation.table import result_to_lines
    from imig.evaluation.worst import write_worst

    page = None
    if options.worst:
        page = write_worst(
            result, against, root=root, output=output, figure=options.worst_by, count=options.worst
        )
    if options.json:
        print_json(result.model_dump(mode="json"))
        return
    for line in result_to_lines(result):
        print_line(line)
    for path in (output / RESULT_NAME, page):
        if path is not None:
            print_line(str(path))


def _compare(options: argparse.Namespace) -> int:
    from imig.evaluation.compare import compare_evaluations, comparison_to_lines

    if options.generated is not None or options.against is not None:
        raise UsageError(
            "--compare takes two results, and no pictures", cure="leave GENERATED and --against out"
        )
    comparison = compare_evaluations(*options.compare)
    if options.json:
        print_json(comparison.model_dump(mode="json"))
        return 0
    for line in comparison_to_lines(comparison):
        print_line(line)
    return 0


def _count(text: str) -> int:
    return 0 if text == "0" else positive(text)

"""`imig bench`: every case of a benchmark drawn and measured."""

from __future__ import annotations

import argparse
from pathlib import Path

from imig.commands.common import (
    Commands,
    add_flag,
    console,
    new_command,
    positive,
    print_json,
    print_line,
)
from imig.commands.drawing_options import (
    add_drawing_options,
    drawing_settings,
    seed,
    settings_to_lines,
)
from imig.commands.evaluate import add_worst_options, show_result
from imig.errors import UsageError
from imig.paths import input_path, output_path

_EXAMPLES = """\
examples:
  imig bench shards-split/validation --adapter runs/train-tiny/adapter.safetensors \\
    --output bench/tiny --measure-set models=tiny
  imig bench layouts/ --adapter adapter.safetensors --output bench/mine --seeds 4
  imig bench coco-mig=mig_bench.json --references cocomig_reference_pack/ \\
    --adapter transformer_05000.safetensors --preset released --output bench/released

CASES is what `imig evaluate --against` takes: a dataset's folder, layout files, or BENCHMARK=PATH
of a benchmark's published files. Scenes are drawn as `imig generate --from-shards` draws them,
layout files as `imig generate` does.

Written into the output folder: pictures/ID-SEED.png, whose metadata say how each was drawn, and
what `imig evaluate` writes. A seed follows from the case's id, or is the layout file's own. The
same command goes on where it was stopped or killed: pictures that it would draw just so again are
kept. Others are refused, or with --overwrite drawn anew.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands,
        "bench",
        summary="draw every case of a dataset or benchmark, and measure the pictures",
        examples=_EXAMPLES,
    )
    command.add_argument(
        "cases",
        metavar="CASES",
        help="a dataset's folder, layout files, or BENCHMARK=PATH of its published files",
    )
    command.add_argument(
        "--output", type=output_path, required=True, metavar="DIR", help="folder of the results"
    )
    add_drawing_options(
        command,
        width="the width that the model was trained at; of layout files, and of a benchmark with "
        "--preset, their own",
    )
    command.add_argument(
        "--references",
        type=input_path,
        metavar="DIR",
        help="pictures of subjects, for benchmarks that have none (COCO-MIG)",
    )
    command.add_argument(
        "--seeds",
        type=positive,
        default=1,
        metavar="N",
        help="pictures a case (default: %(default)s)",
    )
    command.add_argument(
        "--seed",
        type=seed,
        metavar="N",
        help="of the first picture of every case (default: by the case's id)",
    )
    command.add_argument("--limit", type=positive, metavar="N", help="only the first N cases")
    command.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="pictures drawn together (default: 8 on a CPU, 4 on a GPU; fewer where the memory is "
        "too small)",
    )
    command.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="processes (default: one a GPU, one for `cuda:1`; on a CPU one for two cores)",
    )
    add_flag(command, "--overwrite", "draw pictures anew that were drawn otherwise")
    add_flag(command, "--no-evaluate", "only draw")
    command.add_argument(
        "--measure",
        metavar="RECIPE",
        help="recipe of the evaluation: a YAML file, or a name: `imig recipes` (default: the "
        "benchmark's, else evaluate)",
    )
    command.add_argument(
        "--measure-set",
        action="append",
        default=[],
        metavar="A.B=VALUE",
        help="override a key of the evaluation's recipe; models=tiny needs no GPU",
    )
    command.add_argument(
        "--training",
        action="append",
        default=[],
        metavar="DIR",
        help="a dataset that the model was trained on: says how many cases it has seen",
    )
    add_worst_options(command)
    add_flag(command, "--json", "print the result as JSON")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.startup import objects_that_stay

    with objects_that_stay():
        from imig.evaluation.against import open_against
        from imig.evaluation.bench.run import PICTURES, BenchOptions, bench
        from imig.evaluation.recipe_file import default_recipe, load_evaluation_recipe

    if options.no_evaluate and (options.measure or options.measure_set):
        raise UsageError(
            "--no-evaluate measures nothing, so --measure and --measure-set say nothing",
            cure="leave one of them out",
        )
    settings = drawing_settings(options)
    against = open_against(options.cases)
    recipe = None
    if not options.no_evaluate:
        name = options.measure or default_recipe(against.kind)
        recipe = load_evaluation_recipe(name, overrides=options.measure_set).recipe
    if not options.json:
        for line in settings_to_lines(settings, adapter=options.adapter):
            print_line(line)
    output: Path = options.output
    result = bench(
        options.cases,
        settings=settings,
        adapter=options.adapter,
        output=output,
        recipe=recipe,
        options=BenchOptions(
            seeds=options.seeds,
            first_seed=options.seed,
            limit=options.limit,
            width=options.width,
            references=options.references,
            device=options.device,
            batch=options.batch_size,
            workers=options.workers,
            overwrite=options.overwrite,
            training=tuple(options.training),
        ),
        console=console(),
    )
    if result is None:
        if options.json:
            print_json({"pictures": str(output / PICTURES)})
        else:
            print_line(str(output / PICTURES))
        return 0
    show_result(result, against, root=output / PICTURES, output=output, options=options)
    return 0

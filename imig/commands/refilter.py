"""`imig refilter`: other thresholds for a finished dataset, without building it again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imig.commands.common import (
    Commands,
    add_flag,
    add_overrides,
    console,
    new_command,
    print_json,
    print_line,
    say_finished,
    write_file,
)
from imig.errors import UsageError
from imig.paths import command_text, output_path
from imig.stores.places import dataset_folder, output_folder

if TYPE_CHECKING:
    from imig.derived.refilter import Refiltered

_EXAMPLES = """\
examples:
  imig refilter shards/ --report                                what other thresholds would keep
  imig refilter shards/ --report --output curves.png            the same as curves (or .html)
  imig refilter shards/ --set filter.dino=0.85 --output strict/
  imig refilter shards/ --set duplicates.hash_distance=6 --output strict/

Works from the scores that are stored: no model runs, pictures are copied as they are. A filter can
only be made stricter: what was turned down before is not in the dataset, and does not come back.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands,
        "refilter",
        summary="filter a finished dataset again, from its stored scores",
        examples=_EXAMPLES,
    )
    command.add_argument("folder", type=dataset_folder, metavar="DIR", help="the dataset's folder")
    add_overrides(
        command, explanation="a threshold below filter. or duplicates., e.g. --set filter.dino=0.85"
    )
    command.add_argument(
        "--output",
        type=output_folder,
        metavar="NEW",
        help="folder of the new dataset; with --report: a file for curves (.png, .html)",
    )
    add_flag(command, "--report", "write no dataset; say how many scenes other values would keep")
    add_flag(command, "--json", "print the report, or what was done, as JSON")
    add_flag(command, "--drop-encoding", "leave out what `imig encode` has added")
    add_flag(command, "--overwrite", "delete the dataset that is in NEW first")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.report:
        return _report(options)
    if options.output is None:
        raise UsageError(
            "nothing says where the new dataset goes",
            cure="give a folder with --output; or --report to only look",
        )
    from imig.derived.refilter import refilter_dataset

    result = refilter_dataset(
        options.folder,
        overrides=options.overrides,
        output=options.output,
        overwrite=options.overwrite,
        drop_encoding=options.drop_encoding,
    )
    if result is None:
        say_finished(options.output, {"": options.output}, verb="filters", as_json=options.json)
    elif options.json:
        print_json(
            {
                "output": str(options.output),
                "counts": result.manifest.counts.model_dump(),
                "looser": list(result.thresholds.looser()),
            }
        )
    else:
        _print_result(result, options)
    return 0


def _report(options: argparse.Namespace) -> int:
    from imig.derived.sweep import sweep
    from imig.derived.sweep_report import render_tables, sweep_to_json, write_curves
    from imig.derived.thresholds import new_thresholds
    from imig.shards.dataset import Dataset

    dataset = Dataset(options.folder)
    thresholds = new_thresholds(dataset.manifest.recipe, options.overrides)
    result = sweep(dataset, thresholds.filter)
    if options.json:
        print_json({**sweep_to_json(result), "looser": list(thresholds.looser())})
    else:
        screen = console()
        screen.print(render_tables(result), highlight=False)
        print_line(
            f"{options.folder}: {result.scenes:,} scenes with {result.instances:,} instances; the "
            f"thresholds as they are keep {result.kept_scenes:,} with {result.kept_instances:,}. "
            "Each is varied by itself; duplicates are not looked at."
        )
        _warn(list(thresholds.looser()), folder=str(options.folder))
    if options.output is not None:
        output_path(str(options.output))  # curves are a file of this machine
        title = dataset.manifest.name
        write_file(
            options.output, lambda path: write_curves(path, result, title=title), option="--output"
        )
    return 0


def _print_result(result: Refiltered, options: argparse.Namespace) -> None:
    from imig.output.report import print_funnel

    screen, counts = console(), result.manifest.counts
    print_funnel(result.funnel, screen)
    seen = result.funnel[0].seen
    print_line(
        f"wrote {counts.written} of {seen} scenes in {len(result.manifest.shards)} shards to "
        f"{options.output}"
    )
    if result.without_features:
        print_line("no sample has a stored feature: duplicates.similarity was not looked at")
    _warn(list(result.thresholds.looser()), folder=str(options.folder))
    if not counts.written:
        print_line(
            "no scene passes: the new dataset is empty; --report shows what each threshold keeps"
        )
        return
    validate, stats = (command_text("imig", one, options.output) for one in ("validate", "stats"))
    print_line(f"next: {validate}   {stats}")


def _warn(looser: list[str], *, folder: str) -> None:
    if looser:
        print_line(
            f"looser than {folder} was built with ({'; '.join(looser)}): scenes that were turned "
            "down then are not in it, and do not come back; for them, build anew"
        )

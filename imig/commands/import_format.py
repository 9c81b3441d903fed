"""`imig import`: a dataset of files in another tool's format."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imig.commands.common import (
    add_overrides,
    console,
    new_command,
    positive,
    print_json,
    print_line,
)
from imig.paths import command_text, input_path
from imig.stores.places import output_folder

if TYPE_CHECKING:
    from imig.commands.common import Commands

_EXAMPLES = """\
examples:
  imig import folders scenes/ --output shards/
  imig import folders scenes/ --output shards/ --workers 4 --scenes-per-shard 500

What cannot be read is quarantined with its reason, and the others go on. An import that was stopped
goes on with the same command.

`imig formats` lists the formats and their settings.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands,
        "import",
        summary="make a dataset of files in another tool's format",
        examples=_EXAMPLES,
    )
    command.add_argument("format", metavar="FORMAT", help="one of `imig formats`")
    command.add_argument(
        "source", type=input_path, metavar="SOURCE", help="folder or file of that format"
    )
    command.add_argument(
        "--output",
        type=output_folder,
        required=True,
        metavar="NEW",
        help="folder of the new dataset, or its address (s3://, gs://)",
    )
    add_overrides(command, explanation="a setting of the format, as `imig formats` lists them")
    command.add_argument("--name", help="of the new dataset (default: the source's)")
    command.add_argument(
        "--scenes-per-shard",
        type=positive,
        default=1000,
        metavar="N",
        help="scenes of the source that a shard covers (default: %(default)s)",
    )
    command.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="processes (default: 1)"
    )
    command.add_argument("--json", action="store_true", help="print what was done as JSON")
    command.add_argument(
        "--overwrite", action="store_true", help="delete the dataset that is in NEW first"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.commands.common import say_finished
    from imig.interop.format import losses_to_json, losses_to_text
    from imig.interop.importing import import_dataset

    done = import_dataset(
        options.source,
        options.format,
        output=options.output,
        overrides=options.overrides,
        name=options.name,
        scenes_per_shard=options.scenes_per_shard,
        workers=options.workers,
        overwrite=options.overwrite,
        console=None if options.json else console(),
    )
    if done.finished_already:
        say_finished(options.output, {"": options.output}, verb="imports", as_json=options.json)
        return 0
    counts = done.manifest.counts
    if options.json:
        print_json(
            {
                "output": str(options.output),
                "counts": counts.model_dump(),
                "lost": losses_to_json(done.losses),
                "remarks": list(done.remarks),
            }
        )
        return 0
    said = [
        f"imported {counts.written} of {counts.input} scenes in {len(done.manifest.shards)} shards "
        f"to {options.output}"
    ]
    if counts.quarantined:
        said.append(
            f"{counts.quarantined} could not be read: {options.output / 'quarantine.parquet'} says "
            "why"
        )
    said += done.remarks
    said += losses_to_text(done.losses, where="imig")
    said.append(
        f"next: {command_text('imig', 'validate', options.output)}   "
        f"{command_text('imig', 'stats', options.output)}"
    )
    for text in said:
        print_line(text)
    return 0

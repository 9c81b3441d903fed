"""`imig export`: a dataset in another tool's format."""

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
from imig.paths import output_path

if TYPE_CHECKING:
    from imig.commands.common import Commands

_EXAMPLES = """\
examples:
  imig export folders shards/ --output scenes/
  imig export folders hf://datasets/me/mine --output scenes/ --workers 4

Pictures go through as they are stored, never encoded again. What the format has no place for is
counted and said at the end; scenes that are damaged are left out, named, and the exit code is 1. An
export that was stopped goes on with the same command.

`imig formats` lists the formats and their settings.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands, "export", summary="write a dataset in another tool's format", examples=_EXAMPLES
    )
    command.add_argument("format", metavar="FORMAT", help="one of `imig formats`")
    command.add_argument("shards", metavar="DIR", help="the dataset's folder or address")
    command.add_argument(
        "--output", type=output_path, required=True, metavar="NEW", help="folder to write"
    )
    add_overrides(command, explanation="a setting of the format, as `imig formats` lists them")
    command.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="processes (default: 1)"
    )
    command.add_argument("--json", action="store_true", help="print what was done as JSON")
    command.add_argument(
        "--overwrite", action="store_true", help="delete what an export wrote into NEW first"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.errors import VALIDATE, DataError
    from imig.interop.exporting import export_dataset
    from imig.interop.format import losses_to_json, losses_to_text

    done = export_dataset(
        options.shards,
        options.format,
        output=options.output,
        overrides=options.overrides,
        workers=options.workers,
        overwrite=options.overwrite,
        console=None if options.json else console(),
    )
    if options.json:
        print_json(
            {
                "output": str(options.output),
                "scenes": done.scenes,
                "files": done.files,
                "lost": losses_to_json(done.losses),
                "finished_already": done.finished_already,
                "damaged": done.damaged,
            }
        )
        return 1 if done.damaged else 0
    if done.finished_already:
        said = [
            f"{options.output} is finished already: {done.scenes} scenes in {done.files} files; "
            "--overwrite exports them anew"
        ]
    else:
        said = [f"wrote {done.scenes} scenes in {done.files} files to {options.output}"]
    for text in (*said, *losses_to_text(done.losses, where=options.format)):
        print_line(text)
    if done.damaged:
        first = next(iter(done.damaged.values()))
        raise DataError(
            f"{len(done.damaged)} scenes are damaged and left out: {first}",
            cure=f"the others are written. {VALIDATE}",
        )
    return 0

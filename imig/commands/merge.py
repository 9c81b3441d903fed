"""`imig merge`: several datasets, of any subsets and recipes, become one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imig.commands.common import (
    Commands,
    add_flag,
    new_command,
    print_json,
    print_line,
    say_finished,
)
from imig.licences import OVERRIDE
from imig.paths import command_text
from imig.stores.places import dataset_folder, output_folder

if TYPE_CHECKING:
    from imig.derived.merge import Merged

_EXAMPLES = """\
examples:
  imig merge basic/ complex/ flexible/ --output imig-all/
  imig refilter imig-all/ --set duplicates.hash_distance=4 --output imig-unique/
  imig train --shards imig-all/

Shards are written anew, subset by subset. A sample id that an earlier dataset has too gets a number
behind it; everything else stays. The parents' recipes are kept whole in dataset.json.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands, "merge", summary="make one dataset of several", examples=_EXAMPLES
    )
    command.add_argument(
        "folders", type=dataset_folder, nargs="+", metavar="DIR", help="folders of datasets"
    )
    command.add_argument(
        "--output",
        type=output_folder,
        required=True,
        metavar="NEW",
        help="folder of the new dataset, or its address (s3://, gs://)",
    )
    command.add_argument("--name", help="of the new dataset (default: the names, joined by +)")
    command.add_argument(
        "--licence",
        metavar="ID",
        help="what the whole is given under (SPDX identifier, or text with an address); refused "
        "where the scenes' own licences contradict it",
    )
    add_flag(command, OVERRIDE, "merge what the licences contradict all the same")
    add_flag(command, "--json", "print what was done as JSON")
    add_flag(command, "--drop-encoding", "leave out what `imig encode` has added")
    add_flag(command, "--overwrite", "delete the dataset that is in NEW first")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.derived.merge import merge_datasets

    result = merge_datasets(
        options.folders,
        output=options.output,
        name=options.name,
        overwrite=options.overwrite,
        drop_encoding=options.drop_encoding,
        licence=options.licence,
        despite_licences=options.despite_licences,
    )
    if result is None:
        say_finished(options.output, {"": options.output}, verb="merges", as_json=options.json)
    elif options.json:
        print_json(
            {
                "output": str(options.output),
                "counts": result.manifest.counts.model_dump(),
                "subsets": result.subsets,
                "renamed": {
                    str(folder): new.ids
                    for folder, new in zip(options.folders, result.renamed, strict=True)
                },
            }
        )
    else:
        _print(result, options)
    return 0


def _print(result: Merged, options: argparse.Namespace) -> None:
    counts, subsets = result.manifest.counts, result.subsets
    said = [
        f"wrote {counts.written} scenes ({', '.join(f'{k}: {n}' for k, n in subsets.items())}) in "
        f"{len(result.manifest.shards)} shards to {options.output}"
    ]
    for folder, new in zip(options.folders, result.renamed, strict=True):
        if new.ids:
            old, changed = next(iter(new.ids.items()))
            said.append(
                f"{folder}: {len(new.ids)} ids were taken already and got a number: "
                f"{old} -> {changed}{', ...' if len(new.ids) > 1 else ''}"
            )
        if new.identities:
            said.append(
                f"{folder}: {len(new.identities)} identity ids meant something else in an earlier "
                "dataset and are new"
            )
    if any(new.ids for new in result.renamed):
        said.append(
            "in case they are the same scenes: "
            + command_text("imig", "refilter", options.output)
            + " --set duplicates.hash_distance=0 --output NEW"
        )
    validate = command_text("imig", "validate", options.output)
    train = command_text("imig", "train", "--shards", options.output)
    said.append(f"next: {validate}   {train}")
    for text in said:
        print_line(text)

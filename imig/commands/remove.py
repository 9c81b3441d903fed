"""`imig remove`: samples leave a finished dataset, in its own folder, for good."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imig.commands.common import Commands, add_flag, new_command, print_json, print_line
from imig.errors import UsageError
from imig.paths import command_text, input_path, is_address

if TYPE_CHECKING:
    from imig.derived.remove import Removal, Removed
    from imig.derived.selection import Selection

_EXAMPLES = """\
examples:
  imig remove shards/ --source 'flickr/jane/*' --dry-run     what would go
  imig remove shards/ --source 'flickr/jane/*'
  imig remove shards/ --identity complex-00000012:1          every scene that shows it
  imig remove shards/ --ids takedown.txt                     an id a line

For takedowns. Only the shards that hold such samples are written anew; index, tables, report and
card follow, and dataset.json notes how many went, not which. There is no way back. Datasets that
were made of this one and lie elsewhere (encodings, exports, copies) are not touched.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands, "remove", summary="take samples out of a dataset, for good", examples=_EXAMPLES
    )
    command.add_argument(
        "folder",
        type=_dataset_folder,
        metavar="DIR",
        help="the dataset's folder, or one that holds datasets (train/, validation/)",
    )
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--source",
        metavar="PATTERN",
        help="samples whose source.path it describes, as a shell would; * takes slashes too",
    )
    which.add_argument("--identity", metavar="ID", help="samples with an instance of it")
    which.add_argument(
        "--ids", type=input_path, metavar="FILE", help="samples whose ids it lists, one a line"
    )
    add_flag(command, "--dry-run", "only say what would go")
    add_flag(command, "--everything", "also when no scene would be left")
    add_flag(command, "--json", "print what was done as JSON")
    command.set_defaults(run=run)


def _dataset_folder(text: str) -> Path:
    """A folder of this machine. Raises UsageError for an address."""
    if is_address(text):
        raise UsageError(
            f"{text} lies elsewhere, and samples are taken out in place, on this machine only",
            cure="copy the dataset to this machine, take them out there, validate it, and put it "
            "in the place of the other",
        )
    return input_path(text)


def run(options: argparse.Namespace) -> int:
    from imig.derived.remove import plan_removal, remove_samples

    selection = _selection(options)
    if options.dry_run:
        result = plan_removal(options.folder, selection)
    else:
        result = remove_samples(options.folder, selection, everything=options.everything)
    if options.json:
        print_json(_to_json(result, dry_run=options.dry_run))
    else:
        _print(result, options, selection)
    return 0


def _selection(options: argparse.Namespace) -> Selection:
    from imig.derived.selection import select_identity, select_ids, select_source

    if options.source is not None:
        return select_source(options.source)
    if options.identity is not None:
        return select_identity(options.identity)
    return select_ids(options.ids)


def _print(result: Removal, options: argparse.Namespace, selection: Selection) -> None:
    for folder in result.ended:
        print_line(f"{folder}: a removal that was cut off is finished now")
    for one in result.datasets:
        if one.total:
            verb = "would go" if options.dry_run else "removed"
            print_line(f"{one.folder}: {_counts(one)} {verb}; {one.left:,} scenes stay")
            again = "would be written anew" if options.dry_run else "written anew"
            print_line(f"  shards {again}: {', '.join(one.shards) or 'none'}")
    # Those of a removal that was ended just now are not there any more either.
    if selection.by == "ids" and not result.ended:
        found = sum(one.total for one in result.datasets)
        if found < len(selection.ids):
            print_line(
                f"{len(selection.ids) - found:,} of {len(selection.ids):,} ids are not there"
            )
    if not options.dry_run:
        validate = command_text("imig", "validate", options.folder)
        print_line(f"next: {validate}   and the same for encodings, exports and copies elsewhere")


def _counts(one: Removed) -> str:
    parts = [f"{one.scenes:,} scene{'s' * (one.scenes != 1)}"]
    parts += [f"{one.rejects:,} of the rejects"] if one.rejects else []
    parts += [f"{one.quarantined:,} of the quarantined"] if one.quarantined else []
    return ", ".join(parts)


def _to_json(result: Removal, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "ended": [str(one) for one in result.ended],
        "datasets": [
            {
                "folder": str(one.folder),
                "scenes": one.scenes,
                "rejected": one.rejects,
                "quarantined": one.quarantined,
                "left": one.left,
                "shards": one.shards,
            }
            for one in result.datasets
        ],
    }

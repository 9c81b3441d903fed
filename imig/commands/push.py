"""`imig push`: a dataset becomes a dataset repository of a hub."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imig.commands.common import console, new_command, positive, print_json
from imig.licences.refusals import OVERRIDE
from imig.paths import input_path

if TYPE_CHECKING:
    from imig.commands.common import Commands
    from imig.hub.push import Pushed

_EXAMPLES = """\
examples:
  imig push shards/ me/my-dataset --dry-run       what would go, and how large it is
  imig push shards/ me/my-dataset --private
  imig push shards-split/ me/my-dataset           train and validation as two splits

The token is the one that `hf auth login` has stored, or of the variable HF_TOKEN. Every byte is
checked before. A push that was stopped goes on with the same command; until it has ended nobody
takes the repository for a dataset.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands, "push", summary="put a dataset on the Hugging Face hub", examples=_EXAMPLES
    )
    command.add_argument("folder", type=input_path, metavar="DIR", help="the dataset's folder")
    command.add_argument("repository", metavar="REPO", help="owner/name")
    command.add_argument("--private", action="store_true", help="make the repository private")
    command.add_argument(
        "--dry-run", action="store_true", help="list what would go; ask no server, need no token"
    )
    command.add_argument(
        "--no-validate", action="store_true", help="do not check every byte of the dataset before"
    )
    command.add_argument(
        "--overwrite", action="store_true", help="take the place of another dataset there"
    )
    command.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="shards checked at a time"
    )
    command.add_argument(
        OVERRIDE, action="store_true", help="push what the licences forbid all the same"
    )
    command.add_argument("--json", action="store_true", help="print what was done as JSON")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.hub.push import plan_push, push_dataset

    screen = console()
    if options.dry_run:
        done = plan_push(
            options.folder, options.repository, despite_licences=options.despite_licences
        )
    else:
        done = push_dataset(
            options.folder,
            options.repository,
            private=options.private,
            validate=not options.no_validate,
            overwrite=options.overwrite,
            despite_licences=options.despite_licences,
            workers=options.workers,
            console=None if options.json else screen,
        )
    if options.json:
        print_json(
            {
                "repository": done.repository,
                "url": done.url,
                "files": {one.name: one.size for one in done.files},
                "sent": [] if options.dry_run else [one.name for one in done.sent],
                "removed": done.removed,
                "remarks": done.remarks,
            }
        )
        return 0
    if options.dry_run:
        for one in done.files:
            line = f"{_size(one.size):>9}  {one.name}"
            screen.print(line, highlight=False, markup=False, soft_wrap=True)
    for text in (*done.remarks, *_said(done, dry_run=options.dry_run, private=options.private)):
        screen.print(text, highlight=False, markup=False, soft_wrap=True)
    return 0


def _said(done: Pushed, *, dry_run: bool, private: bool) -> list[str]:
    total = f"{len(done.files)} files ({_size(sum(one.size for one in done.files))})"
    if dry_run:
        kind = "private" if private else "public"
        return [f"would send {done.samples} scenes in {total} to {done.url}, {kind} if it is new"]
    if not done.sent and not done.removed:
        return [f"{done.url} has all {total} already"]
    sent = f"{len(done.sent)} of {total}"
    return [
        f"sent {sent} with {done.samples} scenes to {done.url}",
        *([f"removed {len(done.removed)} files of an earlier dataset"] if done.removed else []),
        f'next: imig.Dataset("{done.address()}")   datasets.load_dataset("{done.repository}")',
    ]


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"

"""`imig card`: a dataset's card as today's imig writes it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imig.commands.common import new_command, print_line
from imig.paths import input_path

if TYPE_CHECKING:
    from imig.commands.common import Commands

_EXAMPLES = """\
examples:
  imig card shards/            README.md and croissant.json, for datasets that an older imig made
  imig card shards-split/      of both sides, and the card that names them as splits

Builds and the other commands write both themselves. The licence that the old card states stays.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands, "card", summary="write a dataset's card anew", examples=_EXAMPLES
    )
    command.add_argument("folder", type=input_path, metavar="DIR", help="the dataset's folder")
    command.add_argument(
        "--overwrite", action="store_true", help="also where somebody else has written the card"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.hub.card import renew_cards

    for card in renew_cards(options.folder, overwrite=options.overwrite):
        print_line(f"wrote {card}")
    return 0

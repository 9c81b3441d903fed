"""`imig models`: which weights there are, and how to fetch them."""

from __future__ import annotations

import argparse

from imig.commands.common import Commands


def add_parser(commands: Commands) -> None:
    command = commands.add_parser("models", help="list and fetch weights")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="families, weights, sizes, licences, where found")
    listing.set_defaults(run=run_list)
    pull = actions.add_parser("pull", help="download weights from the model hub")
    pull.add_argument("family", metavar="FAMILY", help="for example grounding-dino")
    pull.add_argument(
        "weights", nargs="?", metavar="HUB_ID", help="default: the family's first in the list"
    )
    pull.set_defaults(run=run_pull)


def run_list(options: argparse.Namespace) -> int:
    from imig.models.registry import list_models
    from imig.models.table import models_text

    print(models_text(list_models()))
    return 0


def run_pull(options: argparse.Namespace) -> int:
    from imig.models.registry import pull

    found = pull(options.family, options.weights)
    print(f"{found.name}: {found.path}")
    return 0

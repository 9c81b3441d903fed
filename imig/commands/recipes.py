"""`imig recipes`: the recipes that ship with imig."""

from __future__ import annotations

import argparse

from imig.commands.common import Commands, console


def add_parser(commands: Commands) -> None:
    command = commands.add_parser("recipes", help="list the recipes that ship with imig")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.table import Table

    from imig.recipe.shipped import recipe_description, shipped_recipes

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, path in shipped_recipes().items():
        table.add_row(name, recipe_description(path))
    console().print(table, highlight=False)
    return 0

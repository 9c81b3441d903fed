"""`imig formats`: what `imig import` and `imig export` know."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imig.commands.common import console, new_command

if TYPE_CHECKING:
    from imig.commands.common import Commands

_EXAMPLES = """\
examples:
  imig formats
  imig export folders shards/ --output scenes/
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands,
        "formats",
        summary="list the formats that datasets are read from and written in",
        examples=_EXAMPLES,
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.interop.formats import formats_text

    console().print(formats_text(), highlight=False, soft_wrap=True, markup=False)
    return 0

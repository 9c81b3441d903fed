"""`imig diff`: what differs between two datasets."""

from __future__ import annotations

import argparse
import math

from imig.commands.common import Commands, add_flag, new_command, print_json, print_line
from imig.errors import DataError, ImigError

_EXAMPLES = """\
examples:
  imig diff shards/ strict/                        what a filter has removed, and its thresholds
  imig diff before/ after/ --scenes 20             the first 20 changed scenes, value by value
  imig diff before/ after/ --tolerance 0.001 --iou 0.99
  imig diff s3://bucket/shards shards/ --no-pictures --json

Scenes are matched by id, instances by identity. Scenes in shards with equal checksums are not read.

exit code: 0 equal, 1 they differ, 2 the call is at fault or a dataset is damaged
"""


class _CannotCompareError(ImigError):
    """A dataset is damaged. As diff(1) has it: 1 would say that they differ."""

    exit_code = 2


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands, "diff", summary="what differs between two datasets", examples=_EXAMPLES
    )
    command.add_argument("before", metavar="A", help="a dataset's folder or address")
    command.add_argument("after", metavar="B", help="the other's")
    command.add_argument(
        "--scenes",
        type=_count,
        default=5,
        metavar="N",
        help="changed scenes to list with all their changes (default: 5)",
    )
    command.add_argument(
        "--tolerance",
        type=_not_negative,
        default=1e-6,
        metavar="X",
        help="scores that are apart by no more are equal (default: 1e-6)",
    )
    command.add_argument(
        "--iou",
        type=_share,
        default=1.0,
        metavar="X",
        help="boxes and masks that overlap by this or more are equal (default: 1)",
    )
    add_flag(command, "--no-pictures", "compare records only, no stored pictures")
    add_flag(command, "--json", "print all differences as JSON")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from imig.api import diff
    from imig.comparison.table import difference_to_json, difference_to_lines

    try:
        found = diff(
            options.before,
            options.after,
            tolerance=options.tolerance,
            min_iou=options.iou,
            scenes=options.scenes,
            pictures=not options.no_pictures,
            # Beside the result, not in it.
            console=Console(stderr=True, emoji=False),
        )
    except DataError as error:
        raise _CannotCompareError(error.message, cure=error.cure) from error
    if options.json:
        print_json(difference_to_json(found))
    else:
        for line in difference_to_lines(found):
            print_line(line)
    return 1 if found.differ else 0


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _not_negative(text: str) -> float:
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and up to 1")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan

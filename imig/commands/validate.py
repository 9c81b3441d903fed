"""`imig validate`: is every byte of a dataset as it should be?"""

from __future__ import annotations

import argparse

from imig.commands.common import Commands, add_flag, console, positive, print_json
from imig.stores.places import dataset_folder


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "validate", help="check every byte of a dataset", epilog="exit code: 0 good, 1 faults"
    )
    command.add_argument(
        "folder", type=dataset_folder, metavar="DIR", help="folder of the dataset, or its address"
    )
    add_flag(command, "--json", "print the report as JSON")
    command.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="shards checked at a time"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.api import validate
    from imig.checks.report import print_report, report_to_json

    report = validate(options.folder, workers=options.workers)
    if options.json:
        print_json(report_to_json(report))
    else:
        print_report(report, console())
    return 0 if report.ok else 1

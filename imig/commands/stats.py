"""`imig stats`: what is in a dataset, in figures and plots."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imig.commands.common import Commands, add_flag, console, print_json, write_file
from imig.paths import output_path

if TYPE_CHECKING:
    from imig.display.stats import DatasetStats


def add_parser(commands: Commands) -> None:
    command = commands.add_parser("stats", help="what is in a dataset, in figures")
    command.add_argument("folder", metavar="DIR", help="the dataset's folder or address")
    command.add_argument("--out", type=output_path, metavar="FILE.png", help="write plots")
    add_flag(command, "--json", "print the figures as JSON")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig import Dataset
    from imig.display.plots import draw_plots
    from imig.display.stats import dataset_stats, render_table

    dataset = Dataset(options.folder)
    stats = dataset_stats(dataset)
    if options.json:
        print_json(_stats_to_json(stats))
    else:
        console().print(render_table(stats))
    if options.out is not None:
        plots = draw_plots(stats, title=dataset.manifest.name)
        write_file(options.out, lambda path: path.write_bytes(plots))
    return 0


def _stats_to_json(stats: DatasetStats) -> dict[str, object]:
    from collections import Counter
    from dataclasses import fields

    from imig.display.stats import QUANTILES

    shown: dict[str, object] = {}
    for one in fields(stats):
        value = getattr(stats, one.name)
        if isinstance(value, Counter):
            # Target sizes are (width, height).
            shown[one.name] = {
                "x".join(map(str, name)) if isinstance(name, tuple) else name: count
                for name, count in value.most_common()
            }
        elif isinstance(value, int):
            shown[one.name] = value
    quantiles = {name: stats.quantiles(name).tolist() for name in stats.scores}
    shown["scores"] = {
        name: dict(zip(map(str, QUANTILES), values, strict=True))
        for name, values in quantiles.items()
    }
    return shown

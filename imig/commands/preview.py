"""`imig preview`: one scene as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from imig.commands.common import DEFAULT_SHARDS, Commands, add_flag, write_file
from imig.errors import UsageError
from imig.paths import output_path


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "preview", help="draw one scene of a dataset: boxes, masks, references"
    )
    command.add_argument("id", nargs="?", metavar="ID", help="for example basic-00000042")
    add_flag(command, "--random", "instead: any scene")
    command.add_argument(
        "--shards",
        default=DEFAULT_SHARDS,
        metavar="DIR",
        help="the dataset's folder or address (default: %(default)s)",
    )
    command.add_argument(
        "--out", type=output_path, metavar="FILE.png", help="where to write it (default: ID.png)"
    )
    command.add_argument(
        "--layers",
        metavar="A,B",
        help="which of boxes,masks,labels,references,layout (default: all)",
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    import random

    from imig import Dataset
    from imig.api import preview
    from imig.display.picture import check_layers

    if (options.id is None) == (not options.random):
        raise UsageError("give an ID or --random", cure="imig preview --random")
    layers = None if options.layers is None else check_layers(options.layers.split(","))
    dataset = Dataset(options.shards)
    if not len(dataset):
        raise UsageError(f"{options.shards} holds no scenes")
    scene = dataset[options.id or random.choice(dataset.ids)]
    out = options.out or Path(f"{scene.id}.png")
    write_file(out, lambda path: preview(scene, layers=layers).save(path))
    print(out)
    return 0

"""`imig train`: ContextGen on a dataset."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from imig.commands.common import DEFAULT_SHARDS, Commands, add_flag, add_overrides, new_command
from imig.errors import DataError
from imig.paths import output_path

_EXAMPLES = """\
examples:
  imig train --shards shards/                             the tiny model: on a CPU, in minutes
  imig train --shards shards/ --set steps=200 --output runs/short
  imig train --shards shards/ --recipe train-kontext      FLUX.1-Kontext on one 80 GB GPU
  torchrun --nproc-per-node 4 -m imig train --shards shards/ --recipe train-kontext-fsdp
  imig train --shards shards/ --recipe dpo-tiny \\
    --set adapter.start=runs/train-tiny/adapter.safetensors

Ctrl-C saves first, and the same command with --resume goes on as if nothing had happened.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands, "train", summary="train ContextGen on a dataset", examples=_EXAMPLES
    )
    command.add_argument(
        "--shards",
        action="append",
        metavar="DIR",
        help=f"a dataset's folder or address; may be given again (default: {DEFAULT_SHARDS})",
    )
    command.add_argument(
        "--recipe",
        default="train-tiny",
        metavar="RECIPE",
        help="a YAML file, or a name: `imig recipes` (default: %(default)s)",
    )
    add_overrides(
        command,
        explanation="override a key of the recipe, for example --set steps=200",
    )
    command.add_argument(
        "--output",
        type=output_path,
        metavar="DIR",
        help="folder of checkpoints, metrics, pictures and adapter (default: runs/<recipe's name>)",
    )
    add_flag(command, "--resume", "go on from the last checkpoint in the folder")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.startup import objects_that_stay

    with objects_that_stay():
        from imig.training.loop import train
        from imig.training.recipe_file import load_training_recipe, place_in_training_recipe

    recipe = load_training_recipe(options.recipe, overrides=options.overrides)
    output = options.output or Path("runs") / recipe.name
    try:
        code = train(
            recipe,
            options.shards or [DEFAULT_SHARDS],
            run=output,
            resume=options.resume,
            place=lambda key: place_in_training_recipe(
                options.recipe, key, overrides=options.overrides
            ),
        )
    except OSError as error:
        raise DataError(
            f"the training cannot go on: {error}",
            cure=f"is there space, and the right to write, in {output}? Then --resume goes on from "
            "the last checkpoint",
        ) from error
    if code == 0 and int(os.environ.get("RANK", "0")) == 0:
        print(output / "adapter.safetensors")
    return code

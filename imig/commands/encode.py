"""`imig encode`: latents and text embeddings, once before training."""

from __future__ import annotations

import argparse
from pathlib import Path

from imig.commands.common import (
    Commands,
    add_flag,
    add_overrides,
    beside,
    console,
    new_command,
    positive,
    print_line,
)
from imig.errors import UsageError
from imig.paths import command_text, input_path, is_address
from imig.stores.places import output_folder

_EXAMPLES = """\
examples:
  imig encode shards/                                     -> shards-encoded/, for train-tiny
  imig encode shards/ --recipe train-kontext --output /data/encoded
  imig train --shards shards-encoded/

Training then needs no text encoders, and no autoencoder but for its pictures. Encode with the
recipe, and the --set, that you train with: weights, sizes and instruction must agree. An encoding
that was stopped or killed goes on where it was when the same command is given again.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands,
        "encode",
        summary="encode a dataset's pictures and captions once, before training",
        examples=_EXAMPLES,
    )
    command.add_argument("shards", metavar="SHARDS", help="the dataset's folder or address")
    command.add_argument(
        "--recipe",
        default="train-tiny",
        metavar="RECIPE",
        help="of the training: a YAML file, or a name: `imig recipes` (default: %(default)s)",
    )
    add_overrides(
        command,
        explanation="override a key of the recipe, for example --set data.target_width=512",
    )
    command.add_argument(
        "--output",
        type=output_folder,
        metavar="DIR",
        help="folder to write (default: SHARDS-encoded)",
    )
    command.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="processes (default: one a GPU, one for `cuda:1`; on a CPU one for two cores)",
    )
    add_flag(command, "--overwrite", "delete the dataset that is in the output folder")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    output = options.output or _beside(options.shards)  # or an error, before seconds of imports
    from imig.startup import objects_that_stay

    with objects_that_stay():
        from imig.training.encode import encode_dataset
        from imig.training.recipe_file import load_training_recipe

    encoded = encode_dataset(
        options.shards,
        load_training_recipe(options.recipe, overrides=options.overrides),
        output=output,
        console=console(),
        workers=options.workers,
        overwrite=options.overwrite,
    )
    if encoded is not None:
        # With the same settings: the training refuses what was encoded with others.
        settings = [word for one in options.overrides for word in ("--set", one)]
        train = command_text(
            "imig", "train", "--shards", output, "--recipe", options.recipe, *settings
        )
        print_line(f"next: {train}")
    return 0


def _beside(shards: str) -> Path:
    """The default output."""
    if is_address(shards):
        raise UsageError(
            f"{shards} lies elsewhere: nothing says where the encoded dataset goes",
            cure="give a folder with --output",
        )
    return beside(input_path(shards), "encoded")

"""`imig split`: training and validation that share no identity and no near copy."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from imig.commands.common import (
    Commands,
    add_flag,
    beside,
    console,
    new_command,
    print_json,
    print_line,
    say_finished,
)
from imig.paths import command_text
from imig.stores.path import OutputPath
from imig.stores.places import dataset_folder, output_folder

if TYPE_CHECKING:
    from imig.derived.split import Split
    from imig.duplicates.config import DuplicatesConfig

_EXAMPLES = """\
examples:
  imig split shards/                                     -> shards-split/train, .../validation
  imig split shards/ --validation 0.05 --output /data/split
  imig train --shards shards-split/train

Scenes that show the same identity, come from the same file or prompt, or are near copies stay on
one side. The same seed and scenes give the same two sides, however the shards are cut.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands, "split", summary="divide a dataset into training and validation",
        examples=_EXAMPLES,
    )  # fmt: skip
    command.add_argument("folder", type=dataset_folder, metavar="DIR", help="the dataset's folder")
    command.add_argument(
        "--validation",
        type=_share,
        default=0.02,
        metavar="SHARE",
        help="of each subset's scenes (default: %(default)s)",
    )
    command.add_argument(
        "--output",
        type=output_folder,
        metavar="DIR2",
        help="folder of the two, or its address (default: DIR-split)",
    )
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the draw (default: %(default)s)"
    )
    command.add_argument(
        "--hash-distance",
        type=int,
        metavar="BITS",
        help="differing bits of near copies, at most (default: the recipe's, or 4)",
    )
    command.add_argument(
        "--similarity",
        type=float,
        metavar="COSINE",
        help="of the stored features of near copies, at least (default: the recipe's, or not "
        "looked at)",
    )
    add_flag(command, "--json", "print what went where as JSON")
    add_flag(command, "--overwrite", "delete the datasets that are there first")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.derived.split import SIDES, split_dataset

    output: OutputPath = options.output or _beside(options.folder)
    result = split_dataset(
        options.folder,
        validation=options.validation,
        output=output,
        seed=options.seed,
        duplicates=_duplicates(options),
        overwrite=options.overwrite,
    )
    if result is None:
        folders: dict[str, OutputPath] = {side: output / side for side in sorted(SIDES)}
        say_finished(output, folders, verb="splits", as_json=options.json)
    elif options.json:
        print_json(_to_json(result))
    else:
        _print(result, share=options.validation)
    return 0


def _print(result: Split, *, share: float) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("subset")
    for name in ("scenes", "groups", "train", "validation", "share"):
        table.add_column(name, justify="right")
    for line in result.lines:
        table.add_row(
            line.subset,
            f"{line.scenes:,}",
            f"{line.groups:,}",
            f"{line.scenes - line.validation:,}",
            f"{line.validation:,}",
            f"{line.validation / line.scenes:.2%}",
        )
    console().print(table, highlight=False)
    said = [
        f"held together: {', '.join(f'{cause}: {n}' for cause, n in result.causes.most_common())}"
        if result.causes
        else "no two scenes have anything in common",
        *(f"not {share:.2%} of {reason}" for reason in result.reasons()),
        *(
            f"wrote {manifest.counts.written} scenes in {len(manifest.shards)} shards to "
            f"{result.output / side}"
            for side, manifest in sorted(result.manifests.items())
        ),
        "next: "
        + command_text("imig", "validate", result.output / "train")
        + "   "
        + command_text("imig", "train", "--shards", result.output / "train"),
    ]
    for text in said:
        print_line(text)


def _to_json(result: Split) -> dict[str, object]:
    from dataclasses import asdict

    return {
        "output": str(result.output),
        "subsets": [asdict(line) for line in result.lines],
        "held_together": dict(result.causes.most_common()),
        "reasons": list(result.reasons()),
        "counts": {side: one.counts.model_dump() for side, one in sorted(result.manifests.items())},
    }


def _duplicates(options: argparse.Namespace) -> DuplicatesConfig | None:
    """What was asked for; None: nothing."""
    from pydantic import ValidationError

    from imig.duplicates.config import DuplicatesConfig
    from imig.errors import UsageError

    given = {
        name: value
        for name in ("hash_distance", "similarity")
        if (value := getattr(options, name)) is not None
    }
    try:
        return DuplicatesConfig(**given) if given else None
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{option}: {first['msg']}, not {first['input']}") from error


def _beside(folder: str | Path) -> Path:
    """The default output."""
    from imig.errors import UsageError

    if isinstance(folder, str):
        raise UsageError(
            f"{folder} lies elsewhere: nothing says where the two datasets go",
            cure="give a folder, of this machine or a store, with --output",
        )
    return beside(folder, "split")


def _share(text: str) -> float:
    """A share above 0 and below 1."""
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and below 1")
    return share

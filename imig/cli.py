"""The commands: parse, call, print. What they do is elsewhere.

Exit codes: 0 all is well; 1 the data or the run is at fault; 2 the call is; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imig import __version__
from imig.errors import ImigError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from imig.preview.stats import DatasetStats

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

DEFAULT_SHARDS = Path("shards")
STOPPED = 130
"""128 + SIGINT, as shells have it."""

_EXAMPLES = """\
examples:
  imig build demo                                    the embedded default: offline, on a CPU
  imig build photos --set source.path=~/photos       photographs, full-size checkpoints
  imig validate shards/
  imig preview basic-00000042 --shards shards/
  imig stats shards/ --out stats.png
"""

_BUILD_EXAMPLES = """\
examples:
  imig build demo --limit 24 --output /tmp/shards
  imig build demo --set ground.box_threshold=0.4 --set source.count=1000
  imig build photos --set source.path=~/photos --set models=tiny
  imig build pipelines/photos.yaml --set source.path=~/photos --plan

A build that was stopped or killed goes on where it was when the same command is given again.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the `imig` script; returns the exit code."""
    options = _make_parser().parse_args(arguments)
    return run_command(options.command, lambda: options.run(options))


def run_command(name: str, command: Callable[[], int]) -> int:
    """Run a command; print what ends it as people want to read it, and return the exit code.

    Exceptions that are no `ImigError` are faults of imig: they keep their traceback.
    """
    try:
        code = command()
        sys.stdout.flush()
    except ImigError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.cure:
            print(f"  {error.cure}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        continues = "; the same command continues" if name == "build" else ""
        print(f"stopped{continues}", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        # The reader (`head`, `less`) has gone; nothing is wrong. Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imig",
        description="Build multi-instance, identity-annotated image datasets.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"imig {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_build(commands)
    _add_validate(commands)
    _add_preview(commands)
    _add_stats(commands)
    _add_models(commands)
    recipes = commands.add_parser("recipes", help="list the recipes that ship with imig")
    recipes.set_defaults(run=_recipes)
    return parser


def _add_build(commands: Commands) -> None:
    command = commands.add_parser(
        "build",
        help="build a dataset from a recipe",
        epilog=_BUILD_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("recipe", metavar="RECIPE", help="a YAML file, or a name: `imig recipes`")
    command.add_argument(
        "--output",
        type=Path,
        default=DEFAULT_SHARDS,
        metavar="DIR",
        help="folder of the dataset (default: %(default)s)",
    )
    command.add_argument(
        "--limit", type=_positive, metavar="N", help="only the first N scenes of the source"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="A.B=VALUE",
        help="override a key of the recipe; `filter=null` removes a stage, `models=tiny` sets "
        "the weights of every model",
    )
    command.add_argument(
        "--plan", action="store_true", help="check and print what would be done, and stop"
    )
    command.add_argument(
        "--overwrite", action="store_true", help="delete the dataset that is in the folder first"
    )
    command.set_defaults(run=_build)


def _add_validate(commands: Commands) -> None:
    command = commands.add_parser(
        "validate", help="check every byte of a dataset", epilog="exit code: 0 good, 1 faults"
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="folder of the dataset")
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    command.add_argument(
        "--workers", type=_positive, default=1, metavar="N", help="shards checked at a time"
    )
    command.set_defaults(run=_validate)


def _add_preview(commands: Commands) -> None:
    command = commands.add_parser("preview", help="draw one scene: boxes, masks, references")
    command.add_argument("id", nargs="?", metavar="ID", help="for example basic-00000042")
    command.add_argument("--random", action="store_true", help="any scene")
    command.add_argument(
        "--shards",
        type=Path,
        default=DEFAULT_SHARDS,
        metavar="DIR",
        help="folder of the dataset (default: %(default)s)",
    )
    command.add_argument(
        "--out", type=Path, metavar="FILE.png", help="where to write it (default: ID.png)"
    )
    command.add_argument(
        "--layers",
        metavar="A,B",
        help="which of boxes,masks,labels,references,layout (default: all)",
    )
    command.set_defaults(run=_preview)


def _add_stats(commands: Commands) -> None:
    command = commands.add_parser("stats", help="what is in a dataset, in figures")
    command.add_argument("folder", type=Path, metavar="DIR", help="folder of the dataset")
    command.add_argument("--out", type=Path, metavar="FILE.png", help="write plots")
    command.add_argument("--json", action="store_true", help="print the figures as JSON")
    command.set_defaults(run=_stats)


def _add_models(commands: Commands) -> None:
    command = commands.add_parser("models", help="list and fetch weights")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="families, weights, sizes, licences, where found")
    listing.set_defaults(run=_models_list)
    pull = actions.add_parser("pull", help="download weights from the model hub")
    pull.add_argument("family", metavar="FAMILY", help="for example grounding-dino")
    pull.add_argument(
        "weights", nargs="?", metavar="HUB_ID", help="default: the family's first in the list"
    )
    pull.set_defaults(run=_models_pull)


def _build(options: argparse.Namespace) -> int:
    from imig.engine.build import build
    from imig.engine.plan import make_plan
    from imig.engine.plan_text import print_plan
    from imig.recipe_file import load_recipe

    loaded = load_recipe(options.recipe, overrides=options.overrides)
    plan = make_plan(loaded, output=options.output.expanduser(), limit=options.limit)
    if options.plan:
        print_plan(plan, _console())
    else:
        build(plan, _console(), overwrite=options.overwrite)
    return 0


def _validate(options: argparse.Namespace) -> int:
    from imig.shards.validate import validate_dataset
    from imig.shards.validate_report import exit_code, print_report, report_to_json

    report = validate_dataset(options.folder.expanduser(), workers=options.workers)
    if options.json:
        _print_json(report_to_json(report))
    else:
        print_report(report, _console())
    return exit_code(report)


def _preview(options: argparse.Namespace) -> int:
    import random

    from imig import Dataset
    from imig.preview.picture import LAYERS, check_layers, draw_preview

    if (options.id is None) == (not options.random):
        raise UsageError("give an ID or --random", cure="imig preview --random")
    layers = LAYERS if options.layers is None else check_layers(options.layers.split(","))
    dataset = Dataset(options.shards.expanduser())
    if not len(dataset):
        raise UsageError(f"{options.shards} holds no scenes")
    scene = dataset[options.id or random.choice(dataset.ids)]
    out = options.out or Path(f"{scene.id}.png")
    _write_file(out, lambda path: draw_preview(scene, layers=layers).save(path))
    print(out)
    return 0


def _stats(options: argparse.Namespace) -> int:
    from imig import Dataset
    from imig.preview.plots import draw_plots
    from imig.preview.stats import dataset_stats, render_table

    dataset = Dataset(options.folder.expanduser())
    stats = dataset_stats(dataset)
    if options.json:
        _print_json(_stats_to_json(stats))
    else:
        _console().print(render_table(stats))
    if options.out is not None:
        plots = draw_plots(stats, title=dataset.manifest.name)
        _write_file(options.out, lambda path: path.write_bytes(plots))
    return 0


def _stats_to_json(stats: DatasetStats) -> dict[str, object]:
    from collections import Counter
    from dataclasses import fields

    from imig.preview.stats import QUANTILES

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


def _models_list(options: argparse.Namespace) -> int:
    from imig.models.registry import list_models
    from imig.models.table import models_text

    print(models_text(list_models()))
    return 0


def _models_pull(options: argparse.Namespace) -> int:
    from imig.models.registry import pull

    found = pull(options.family, options.weights)
    print(f"{found.name}: {found.path}")
    return 0


def _recipes(options: argparse.Namespace) -> int:
    from rich.table import Table

    from imig.recipe_file import recipe_description, shipped_recipes

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, path in shipped_recipes().items():
        table.add_row(name, recipe_description(path))
    _console().print(table, highlight=False)
    return 0


def _console() -> Console:
    from rich.console import Console

    return Console()


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=1, ensure_ascii=False))


def _write_file(path: Path, write: Callable[[Path], object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    except (OSError, ValueError) as error:
        # PIL raises ValueError for a suffix that it does not know.
        raise UsageError(f"cannot write {path}: {error}", cure="give another --out") from error


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


if __name__ == "__main__":
    sys.exit(main())

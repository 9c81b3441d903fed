"""The commands: parse, call, print. What they do is elsewhere.

Exit codes: 0 all is well; 1 the data or the run is at fault; 2 the call is; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imig import __version__
from imig.errors import ImigError, UsageError

if TYPE_CHECKING:
    from PIL import Image
    from rich.console import Console

    from imig.contextgen.layout_file import LoadedLayout
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
  imig generate layout.json --adapter adapter.safetensors --output pictures/
"""

_BUILD_EXAMPLES = """\
examples:
  imig build demo --limit 24 --output /tmp/shards
  imig build demo --set ground.box_threshold=0.4 --set source.count=1000
  imig build photos --set source.path=~/photos --set models=tiny
  imig build pipelines/photos.yaml --set source.path=~/photos --plan

A build that was stopped or killed goes on where it was when the same command is given again.
"""


_TRAIN_EXAMPLES = """\
examples:
  imig train --shards shards/                             the tiny model: on a CPU, in minutes
  imig train --shards shards/ --set steps=200 --output runs/short
  imig train --shards shards/ --recipe train-kontext      FLUX.1-Kontext on one 80 GB GPU
  torchrun --nproc-per-node 4 -m imig train --shards shards/ --recipe train-kontext-fsdp
  imig train --shards shards/ --recipe dpo-tiny \\
    --set adapter.start=runs/train-tiny/adapter.safetensors

Ctrl-C saves first, and the same command with --resume goes on as if nothing had happened.
"""

_GENERATE_EXAMPLES = """\
examples:
  imig generate layout.json --adapter runs/r/adapter.safetensors --output pictures/
  imig generate --from-shards basic-00000042 --shards shards/ --output pictures/
  imig generate layout.json --count 4 --seed 7 --output pictures/

LAYOUT.json has a caption, the picture's width and height, and references, each with an image (RGBA,
or an image and a mask) and a box; schemas/layout.json describes every key. --from-shards writes one
for a scene of a dataset, with its pictures, into the output folder: a start for your own.

Written for each seed: NAME-SEED.png and NAME-SEED.compare.png (layout, references, result and boxes
side by side), and once NAME-layout.png. Pictures of the same name are replaced.
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
        # Nothing is left to stop: one more Ctrl-C would only print a traceback over the ending.
        with suppress(ValueError):  # not in the main thread: a program of others calls us
            signal.signal(signal.SIGINT, signal.SIG_IGN)
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
    _add_train(commands)
    _add_generate(commands)
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


def _add_train(commands: Commands) -> None:
    command = commands.add_parser(
        "train",
        help="train ContextGen on a dataset",
        epilog=_TRAIN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="A.B=VALUE",
        help="override a key of the recipe, for example --set steps=200",
    )
    command.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder of checkpoints, metrics, pictures and adapter (default: runs/<recipe's name>)",
    )
    command.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in the folder"
    )
    command.set_defaults(run=_train)


def _add_generate(commands: Commands) -> None:
    command = commands.add_parser(
        "generate",
        help="draw a picture of a layout: references, boxes, a caption",
        epilog=_GENERATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "layout", nargs="?", type=Path, metavar="LAYOUT.json", help="the layout file"
    )
    command.add_argument(
        "--from-shards", metavar="ID", help="instead: the layout of a scene of a dataset"
    )
    command.add_argument(
        "--shards",
        type=Path,
        default=DEFAULT_SHARDS,
        metavar="DIR",
        help="that dataset's folder (default: %(default)s)",
    )
    command.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder of the pictures"
    )
    command.add_argument(
        "--adapter",
        type=Path,
        metavar="FILE",
        help="LoRA that `imig train` wrote, or another tool; without it the base model draws alone",
    )
    command.add_argument(
        "--recipe",
        metavar="RECIPE",
        help="training recipe with the settings of attention, instruction and reference size "
        "(default: what the adapter carries, else train-tiny, or train-kontext with --weights)",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="A.B=VALUE",
        help="override a key of the recipe",
    )
    command.add_argument(
        "--weights",
        metavar="WEIGHTS",
        help="base model: tiny, a local folder or a hub id (default: the recipe's)",
    )
    command.add_argument(
        "--seed", type=_seed, metavar="N", help="of the noise (default: the layout file's, else 0)"
    )
    command.add_argument(
        "--count",
        type=_positive,
        default=1,
        metavar="N",
        help="pictures, of the seeds from --seed on (default: %(default)s)",
    )
    command.add_argument(
        "--steps", type=_positive, metavar="N", help="of sampling (default: the recipe's)"
    )
    command.add_argument(
        "--guidance",
        type=float,
        metavar="X",
        help="strength of the caption, for weights distilled with guidance (default: what the "
        "recipe trains with)",
    )
    command.add_argument(
        "--width",
        type=_positive,
        metavar="PIXELS",
        help="scale the layout to this width, rounded to a multiple of 16 (default: as the layout "
        "file has it; with --from-shards the width that the model was trained at)",
    )
    command.add_argument("--device", default="auto", help="auto, cpu, cuda (default: %(default)s)")
    command.set_defaults(run=_generate)


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


def _train(options: argparse.Namespace) -> int:
    from imig.recipe_file import load_training_recipe
    from imig.training.loop import train

    recipe = load_training_recipe(options.recipe, overrides=options.overrides)
    run = (options.output or Path("runs") / recipe.name).expanduser()
    code = train(recipe, options.shards or [DEFAULT_SHARDS], run=run, resume=options.resume)
    if code == 0 and int(os.environ.get("RANK", "0")) == 0:
        print(run / "adapter.safetensors")
    return code


def _generate(options: argparse.Namespace) -> int:
    import numpy as np

    from imig.contextgen.generate import find_settings, generate
    from imig.contextgen.layout_pictures import layout_to_pictures
    from imig.preview.result_files import write_results

    if (options.layout is None) == (options.from_shards is None):
        raise UsageError(
            "give a LAYOUT.json or --from-shards ID", cure="`imig generate --help` has examples"
        )
    adapter = None if options.adapter is None else options.adapter.expanduser()
    settings = find_settings(
        adapter=adapter,
        recipe=options.recipe,
        weights=options.weights,
        overrides=options.overrides,
        steps=options.steps,
        guidance=options.guidance,
    )
    output = options.output.expanduser()
    loaded, target = _find_layout(options, output)
    trained_width = settings.target_width if options.from_shards else None
    pictures = layout_to_pictures(
        loaded,
        reference_side=settings.reference_side,
        instruction=settings.instruction,
        target_width=options.width or trained_width,
    )
    first = (loaded.layout.seed or 0) if options.seed is None else options.seed
    seeds = range(first, first + options.count)
    drawn_by = f"{settings.weights} with {adapter.name}" if adapter else f"{settings.weights} alone"
    print(f"settings: {settings.origin}; {settings.steps} steps")
    if adapter is None:
        print(f"no --adapter: the base model ({settings.weights}) draws alone")
    with _step_progress(len(seeds), settings.steps) as progress:
        results = generate(
            pictures,
            settings=settings,
            seeds=seeds,
            adapter=adapter,
            device=options.device,
            progress=progress,
        )
        for path in write_results(
            results,
            seeds=seeds,
            loaded=loaded,
            pictures=pictures,
            folder=output,
            note=drawn_by,
            target=None if target is None else np.asarray(target),
        ):
            print(path)
    return 0


def _find_layout(
    options: argparse.Namespace, output: Path
) -> tuple[LoadedLayout, Image.Image | None]:
    """The layout to draw, and how the dataset's own picture of it looks, if there is one."""
    from imig.contextgen.layout_file import load_layout

    if options.from_shards is None:
        return load_layout(options.layout), None

    from imig import Dataset
    from imig.contextgen.layout_pictures import scene_to_layout_file

    scene = Dataset(options.shards.expanduser())[options.from_shards]
    path = output / f"{scene.id}.json"
    _write_file(path, lambda path: scene_to_layout_file(scene, path.parent), option="--output")
    print(path)
    return load_layout(path), scene.target


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


@contextmanager
def _step_progress(pictures: int, steps: int) -> Iterator[Callable[[int, int], None]]:
    """A bar on the error stream, gone at the end; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("drawing", total=pictures * steps)
        yield lambda seed, step: bar.advance(task)


def _write_file(path: Path, write: Callable[[Path], object], *, option: str = "--out") -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    except (OSError, ValueError) as error:
        # PIL raises ValueError for a suffix that it does not know.
        raise UsageError(f"cannot write {path}: {error}", cure=f"give another {option}") from error


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"{value} is not in 0 .. 2**63 - 1")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


if __name__ == "__main__":
    sys.exit(main())

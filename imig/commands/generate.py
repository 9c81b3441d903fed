"""`imig generate`: pictures of a layout."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from imig import __version__
from imig.commands.common import (
    DEFAULT_SHARDS,
    Commands,
    new_command,
    positive,
    write_file,
)
from imig.commands.drawing_options import (
    add_drawing_options,
    drawing_settings,
    seed,
    settings_to_lines,
)
from imig.errors import UsageError
from imig.paths import input_path, output_path

if TYPE_CHECKING:
    from PIL import Image

    from imig.contextgen.layout_file import LoadedLayout

_EXAMPLES = """\
examples:
  imig generate layout.json --adapter runs/train-tiny/adapter.safetensors --output pictures/
  imig generate --from-shards basic-00000042 --shards shards/ --output pictures/
  imig generate layout.json --count 4 --seed 7 --output pictures/
  imig generate layout.json --preset released --adapter transformer_05000.safetensors \\
    --output pictures/

LAYOUT.json has a caption, the picture's width and height, and references, each with an image (RGBA,
or an image and a mask) and a box; schemas/layout.json describes every key. YAML is read too.

--from-shards writes one for a scene of a dataset, with its pictures, into the output folder: a
start for your own. What it draws is what `imig train` draws of that scene while it trains. A file
that was edited is not replaced.

--preset released draws as the released ContextGen code does, which published weights need: guidance
3.5, 28 steps, 512 text tokens, rounded position indices, its sizes of references, and its way with
captions. What the call names goes before it (--guidance, --steps, --set), and it goes before recipe
and adapter. The wording around the caption is --instruction's: that of the released code is in its
repository.

Written for each seed: NAME-SEED.png and NAME-SEED.compare.png (layout, references, result and boxes
side by side), and once NAME-layout.png. Results of the same name are replaced. The text `imig` in
the metadata of the first two says in JSON with what they were drawn.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands,
        "generate",
        summary="draw pictures of a layout: references, boxes, a caption",
        examples=_EXAMPLES,
    )
    command.add_argument(
        "layout", nargs="?", type=input_path, metavar="LAYOUT.json", help="the layout file"
    )
    command.add_argument(
        "--from-shards", metavar="ID", help="instead: the layout of a scene of a dataset"
    )
    command.add_argument(
        "--shards",
        default=DEFAULT_SHARDS,
        metavar="DIR",
        help="that dataset's folder or address (default: %(default)s)",
    )
    command.add_argument(
        "--output", type=output_path, required=True, metavar="DIR", help="folder of the pictures"
    )
    command.add_argument(
        "--seed", type=seed, metavar="N", help="of the noise (default: the layout file's, else 0)"
    )
    command.add_argument(
        "--count",
        type=positive,
        default=1,
        metavar="N",
        help="pictures, of the seeds from --seed on (default: %(default)s)",
    )
    add_drawing_options(
        command,
        width="as the layout file has it; with --from-shards the width that the model was trained "
        "at",
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.startup import objects_that_stay

    with objects_that_stay():
        import numpy as np

        from imig.contextgen.generate import generate
        from imig.contextgen.layout_pictures import layout_to_pictures
        from imig.display.result_files import write_results

    if (options.layout is None) == (options.from_shards is None):
        raise UsageError(
            "give a LAYOUT.json or --from-shards ID", cure="`imig generate --help` has examples"
        )
    adapter, output = options.adapter, options.output
    settings = drawing_settings(options)
    loaded, target = _find_layout(options, output)
    trained_width = settings.target_width if options.from_shards else None
    pictures = layout_to_pictures(
        loaded,
        reference_side=settings.reference_side,
        instruction=settings.instruction,
        target_width=options.width or trained_width,
        preset=settings.preset,
    )
    first = (loaded.layout.seed or 0) if options.seed is None else options.seed
    seeds = range(first, first + options.count)
    drawn_by = f"{settings.weights} with {adapter.name}" if adapter else f"{settings.weights} alone"
    for line in settings_to_lines(settings, adapter=adapter):
        print(line)
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
            record={"imig": __version__, **settings.record(adapter=adapter)},
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
    from imig.contextgen.scene_layout import scene_to_layout_file

    scene = Dataset(options.shards)[options.from_shards]
    path = output / f"{scene.id}.json"
    write_file(path, lambda path: scene_to_layout_file(scene, path.parent), option="--output")
    print(path)
    return load_layout(path), scene.target


@contextmanager
def _step_progress(pictures: int, steps: int) -> Iterator[Callable[[int, int], None]]:
    """A bar on the error stream, gone at the end; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing", total=pictures * steps)
        yield lambda seed, step: bar.advance(task)

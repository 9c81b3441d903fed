"""`imig adapter`: what an adapter's file is, and the same adapter in other forms."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from imig.commands.common import new_command, positive, print_json
from imig.paths import input_path, output_path

if TYPE_CHECKING:
    import torch

    from imig.commands.common import Commands

_EXAMPLES = """\
examples:
  imig adapter info runs/train-kontext
  imig adapter convert runs/train-kontext --to comfyui
  imig adapter resize adapter.safetensors --rank 64
  imig adapter merge adapter.safetensors --output models/merged/
  imig adapter export runs/train-kontext --to released

FILE is a LoRA for FLUX.1 of any tool that `imig generate --adapter` reads, PEFT's folder, or the
folder of a training. docs/adapters.md has more.
"""
_INFO_EXAMPLES = """\
examples:
  imig adapter info runs/train-tiny
  imig adapter info lora.safetensors --json
"""
_CONVERT_EXAMPLES = """\
examples:
  imig adapter convert runs/train-kontext --to comfyui        -> .../adapter-comfyui.safetensors
  imig adapter convert kohya.safetensors --to diffusers --output diffusers.safetensors

The effect is the same, whatever the file said its scale to be: what is written has scale 1, so that
programs draw alike that look for it in different places. kohya's layers are fused: where parts of
one had an A of their own, its rank is their ranks' sum.
"""
_RESIZE_EXAMPLES = """\
examples:
  imig adapter resize adapter.safetensors --rank 64            -> adapter-rank64.safetensors
  imig adapter resize adapter.safetensors --energy 0.99 --output small.safetensors

Each layer becomes the nearest one of a smaller rank (singular value decomposition). The error is
the norm of the difference by the norm of what the layer changed, rounding included.
"""
_MERGE_EXAMPLES = """\
examples:
  imig adapter merge runs/train-tiny --output merged/           the base that the file names
  imig adapter merge lora.safetensors --base flux1-dev.safetensors --output merged.safetensors
  imig generate layout.json --weights merged/ --recipe train-tiny --output pictures/

The base is a safetensors file, the folder of a transformer or that of a pipeline; it is read and
written tensor by tensor. What rounding to the base's type takes from the change is shown.
"""
_EXPORT_EXAMPLES = """\
examples:
  imig adapter export runs/train-kontext --to released
  imig adapter export runs/train-kontext/adapter.safetensors --to released --output contextgen/

diffusers and ComfyUI read adapter.safetensors as it is. `released` writes a folder for the released
ContextGen code (ADAPTER_PATH there): transformer_00500.safetensors, with the training's step in its
name, which that code insists on.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands,
        "adapter",
        summary="look at an adapter; convert, resize or merge it",
        examples=_EXAMPLES,
    )
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_info(actions)
    _add_convert(actions)
    _add_resize(actions)
    _add_merge(actions)
    _add_export(actions)


def _add_info(actions: Commands) -> None:
    info = new_command(
        actions, "info", summary="say what an adapter's file is", examples=_INFO_EXAMPLES
    )
    _add_file(info)
    info.add_argument("--json", action="store_true", help="print it as JSON")
    info.set_defaults(run=run_info)


def _add_convert(actions: Commands) -> None:
    convert = new_command(
        actions,
        "convert",
        summary="write an adapter with the keys of another program",
        examples=_CONVERT_EXAMPLES,
    )
    _add_file(convert)
    # as imig.contextgen.adapter_styles.Style, which imports torch
    convert.add_argument(
        "--to",
        choices=("diffusers", "comfyui", "kohya"),
        required=True,
        help="whose keys, and whose place of the scale",
    )
    _add_output(convert, default="FILE's name with -STYLE")
    convert.set_defaults(run=run_convert)


def _add_resize(actions: Commands) -> None:
    resize = new_command(
        actions,
        "resize",
        summary="write an adapter of a smaller rank",
        examples=_RESIZE_EXAMPLES,
    )
    _add_file(resize)
    resize.add_argument("--rank", type=positive, metavar="N", help="no layer gets a larger one")
    resize.add_argument(
        "--energy",
        type=_energy,
        metavar="SHARE",
        help="of each layer's squared singular values, kept at least; 0.99 is an error of 0.1",
    )
    _add_output(resize, default="FILE's name with -rankN or -energySHARE")
    resize.set_defaults(run=run_resize)


def _add_merge(actions: Commands) -> None:
    merge = new_command(
        actions,
        "merge",
        summary="add an adapter to a base model's weights",
        examples=_MERGE_EXAMPLES,
    )
    _add_file(merge)
    merge.add_argument(
        "--base",
        metavar="WEIGHTS",
        help="`tiny`, a path or a hub id (default: what FILE says it was trained on)",
    )
    merge.add_argument(
        "--strength",
        type=_strength,
        default=1.0,
        metavar="FACTOR",
        help="of the adapter's effect (default: %(default)s)",
    )
    merge.add_argument(
        "--output",
        type=output_path,
        required=True,
        metavar="PATH",
        help="a file where the base is one, else a folder",
    )
    merge.add_argument(
        "--dtype",
        choices=("bfloat16", "float16", "float32"),
        help="of the weights (default: each its own)",
    )
    merge.add_argument("--json", action="store_true", help="print the figures as JSON")
    merge.add_argument("--overwrite", action="store_true", help="replace what is there")
    merge.set_defaults(run=run_merge)


def _add_export(actions: Commands) -> None:
    export = new_command(
        actions,
        "export",
        summary="write an adapter for the released ContextGen code",
        examples=_EXPORT_EXAMPLES,
    )
    export.add_argument("source", metavar="RUN", help="folder of a training, or an adapter's file")
    export.add_argument(
        "--to", choices=("released",), required=True, help="the program that is to read it"
    )
    export.add_argument("--output", metavar="DIR", help="folder to write (default: RUN/released)")
    export.add_argument(
        "--step",
        type=_step,
        metavar="N",
        help="number in the file's name (default: the step of the run's last checkpoint, else 0)",
    )
    export.set_defaults(run=run_export)


def _add_file(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "file", type=input_path, metavar="FILE", help="an adapter, or the folder that it is in"
    )


def _add_output(command: argparse.ArgumentParser, *, default: str) -> None:
    command.add_argument(
        "--output",
        type=output_path,
        metavar="FILE2",
        help=f"what to write (default: {default})",
    )
    command.add_argument(
        "--dtype",
        choices=("bfloat16", "float16", "float32"),
        help="of the weights (default: as they are)",
    )
    command.add_argument("--json", action="store_true", help="print the figures as JSON")
    command.add_argument("--overwrite", action="store_true", help="replace a file that is there")


def run_info(options: argparse.Namespace) -> int:
    from imig.commands.adapter_figures import print_info
    from imig.contextgen.adapter_info import describe_adapter

    info = describe_adapter(options.file)
    if options.json:
        print_json(info.to_json())
    else:
        print_info(info)
    return 0


def run_convert(options: argparse.Namespace) -> int:
    from imig.commands.adapter_figures import converted_json, print_converted
    from imig.contextgen.adapter_convert import convert_adapter

    output = _free_file(options, ending=options.to)
    result = convert_adapter(options.file, output, style=options.to, dtype=_dtype(options))
    if options.json:
        print_json(converted_json(result))
    else:
        print_converted(result)
    return 0


def run_resize(options: argparse.Namespace) -> int:
    from imig.commands.adapter_figures import print_resized, resized_json
    from imig.contextgen.adapter_resize import resize_adapter
    from imig.errors import UsageError

    if options.rank is None and options.energy is None:
        raise UsageError("nothing says how small", cure="give --rank N, --energy SHARE or both")
    endings = (
        None if options.rank is None else f"rank{options.rank}",
        None if options.energy is None else f"energy{options.energy:g}",
    )
    output = _free_file(options, ending="-".join(one for one in endings if one))
    with _bar("resizing") as progress:
        result = resize_adapter(
            options.file,
            output,
            rank=options.rank,
            energy=options.energy,
            dtype=_dtype(options),
            progress=progress,
        )
    if options.json:
        print_json(resized_json(result))
    else:
        print_resized(result)
    return 0


def run_merge(options: argparse.Namespace) -> int:
    from imig.commands.adapter_figures import merged_json, print_merged
    from imig.console.interrupt import interrupt_once
    from imig.contextgen.adapter_merge import merge_adapter

    # A scheduler's SIGTERM, too, leaves no half of a model beside the output.
    with interrupt_once(), _bar("merging") as progress:
        result = merge_adapter(
            options.file,
            _base(options),
            options.output,
            strength=options.strength,
            dtype=_dtype(options),
            overwrite=options.overwrite,
            progress=progress,
        )
    if options.json:
        print_json(merged_json(result))
    else:
        print_merged(result)
    return 0


def run_export(options: argparse.Namespace) -> int:
    from imig.contextgen.adapter import read_settings
    from imig.contextgen.adapter_file import find_adapter_file
    from imig.contextgen.released_export import differences_from_released, export_for_released
    from imig.training.run_folder import latest_checkpoint, step_of

    source = input_path(options.source)
    adapter = find_adapter_file(source)
    step = options.step
    if step is None:
        latest = latest_checkpoint(adapter.parent)
        step = 0 if latest is None else step_of(latest)
    settings = read_settings(adapter)
    output = adapter.parent / "released" if options.output is None else output_path(options.output)
    path = export_for_released(adapter, output, step=step)
    if not settings:
        print("note: the file does not say which attention it was trained with")
    for one in differences_from_released(settings) if settings else ():
        print(f"note: {one}")
    print(path)
    return 0


def _free_file(options: argparse.Namespace, *, ending: str) -> Path:
    """Where to write, looked at before the work: nothing is there, or it may go."""
    from imig.contextgen.adapter_file import find_adapter_file
    from imig.errors import UsageError

    source = find_adapter_file(options.file)
    output: Path = options.output or source.with_name(f"{source.stem}-{ending}.safetensors")
    if output.is_dir():
        raise UsageError(
            f"{output} is a folder", cure="give --output the name of the file in it, too"
        )
    if not options.overwrite and (output.exists() or output.is_symlink()):
        raise UsageError(f"{output} exists", cure="--overwrite replaces it")
    return output


def _base(options: argparse.Namespace) -> Path:
    """The base model's path: what is named, or what the adapter was trained on."""
    from imig.contextgen.adapter import read_settings
    from imig.contextgen.components import find_components
    from imig.errors import UsageError
    from imig.models.weights import TINY

    weights = options.base or read_settings(options.file).get("weights")
    if not isinstance(weights, str):
        raise UsageError(
            f"{options.file} does not say which model it is for",
            cure="--base PATH, a hub id or `tiny`",
        )
    if weights != TINY and (path := input_path(weights)).exists():
        return path
    return find_components(weights).path


def _dtype(options: argparse.Namespace) -> torch.dtype | None:
    from imig.contextgen.adapter_styles import DTYPES

    return None if options.dtype is None else DTYPES[options.dtype]


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on the error stream, gone at the end; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    screen = Console(stderr=True)
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task(title)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _step(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _energy(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and up to 1")
    return share


def _strength(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number other than 0")
    return value

"""`imig adapter`: adapters for other programs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imig.commands.common import new_command

if TYPE_CHECKING:
    from imig.commands.common import Commands

_EXAMPLES = """\
examples:
  imig adapter export runs/train-kontext --to released
  imig adapter export runs/train-kontext/adapter.safetensors --to released --output contextgen/

diffusers and ComfyUI read adapter.safetensors as it is. `released` writes a folder for the released
ContextGen code (ADAPTER_PATH there): transformer_00500.safetensors, with the training's step in its
name, which that code insists on, and alpha multiplied into the weights, which older diffusers do
not read.
"""


def add_parser(commands: Commands) -> None:
    command = commands.add_parser("adapter", help="export an adapter for other programs")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    export = new_command(
        actions,
        "export",
        summary="write an adapter as another program wants it",
        examples=_EXAMPLES,
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


def run_export(options: argparse.Namespace) -> int:
    from imig.contextgen.adapter import read_settings
    from imig.contextgen.adapter_file import find_adapter_file
    from imig.contextgen.released_export import differences_from_released, export_for_released
    from imig.paths import input_path, output_path
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


def _step(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)

"""What `imig generate` and `imig bench` draw with: their common options."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from imig.commands.common import add_overrides, positive
from imig.paths import input_path

if TYPE_CHECKING:
    from imig.contextgen.generate import GenerateSettings


def add_drawing_options(command: argparse.ArgumentParser, *, width: str) -> None:
    """The options. `width` says how wide pictures are where `--width` says nothing."""
    command.add_argument(
        "--adapter",
        type=input_path,
        metavar="FILE",
        help="LoRA that `imig train` wrote, or another tool; without it the base model draws alone",
    )
    command.add_argument(
        "--recipe",
        metavar="RECIPE",
        help="training recipe with the settings of attention, instruction and reference size "
        "(default: what the adapter carries, else train-tiny, or train-kontext with --weights)",
    )
    add_overrides(
        command,
        explanation="override a key of that recipe",
    )
    command.add_argument(
        "--weights",
        metavar="WEIGHTS",
        help="base model: tiny, a local folder or a hub id (default: the one of the training)",
    )
    command.add_argument(
        "--steps", type=positive, metavar="N", help="of sampling (default: as in the training)"
    )
    command.add_argument(
        "--guidance",
        type=_finite,
        metavar="X",
        help="strength of the caption, for weights distilled with guidance (default: as in the "
        "training)",
    )
    command.add_argument(
        "--instruction",
        metavar="TEXT",
        help="what the text encoders get, with {caption} in it (default: as in the training)",
    )
    command.add_argument(
        "--preset",
        choices=("released",),
        help="draw as the code does that weights were published with",
    )
    command.add_argument(
        "--width",
        type=positive,
        metavar="PIXELS",
        help=f"scale the layout to this width, rounded to a multiple of 16 (default: {width})",
    )
    command.add_argument("--device", default="auto", help="auto, cpu, cuda (default: %(default)s)")


def drawing_settings(options: argparse.Namespace) -> GenerateSettings:
    """The settings that the options ask for. Raises UsageError and DataError."""
    from imig.training.generate_settings import find_settings

    return find_settings(
        adapter=options.adapter,
        recipe=options.recipe,
        weights=options.weights,
        overrides=options.overrides,
        steps=options.steps,
        guidance=options.guidance,
        instruction=options.instruction,
        preset=options.preset,
    )


def settings_to_lines(settings: GenerateSettings, *, adapter: Path | None) -> Iterator[str]:
    """What a person wants to know before hours of drawing."""
    yield f"settings: {settings.origin}; {settings.steps} steps"
    if adapter is not None and settings.is_guess:
        yield (
            f"{adapter.name} does not say how it was trained; weights that were published with "
            "ContextGen want --preset released"
        )
    if adapter is None:
        yield f"no --adapter: the base model ({settings.weights}) draws alone"


def seed(text: str) -> int:
    """Of noise."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number in 0 .. 2**63 - 1")
    return int(text)


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value

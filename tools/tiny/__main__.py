"""`python -m tools.tiny`: trains the tiny checkpoints from nothing, one family after the other.

Stopped at any moment, the same command goes on; what is finished is not trained again (the state of
the trainings is in the cache folder).
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

MODULES = {
    "segment-anything": "segment_anything",
    "open-clip": "open_clip",
    "dinov2": "dinov2",
    "blip": "blip",
    "grounding-dino": "grounding_dino",
    "contextgen": "contextgen",
}
"""Family to the module that trains it, in the order of training."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.tiny", description=__doc__)
    parser.add_argument(
        "families",
        nargs="*",
        metavar="FAMILY",
        help=f"{', '.join(MODULES)}; all when none is named",
    )
    parser.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of PyTorch")
    parser.add_argument(
        "--steps-scale", type=float, default=1.0, help="share of the usual number of steps"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path(os.environ.get("IMIG_TINY_CACHE", ".cache/tiny"))
    )
    parser.add_argument("--output", type=Path, default=Path("imig/weights"))
    options = parser.parse_args(arguments)
    unknown = [name for name in options.families if name not in MODULES]
    if unknown:
        parser.error(f"unknown family {unknown[0]!r}: one of {', '.join(MODULES)}")

    import torch

    from tools.tiny.common import Workshop

    torch.set_num_threads(options.threads)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    workshop = Workshop(
        cache=options.cache,
        output=options.output,
        device=device,
        processes=options.threads,
        steps_scale=options.steps_scale,
    )
    for family in options.families or MODULES:
        started = time.monotonic()
        module = importlib.import_module(f"tools.tiny.{MODULES[family]}")
        folder = module.train_family(workshop)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
        minutes = (time.monotonic() - started) / 60
        print(f"{family}: {folder}, {size:.1f} MB, {minutes:.0f} min", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)

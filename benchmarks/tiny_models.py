"""Measures the tiny checkpoints on held-out scenes, through the model families.

    python benchmarks/tiny_models.py [--scenes 300] [--only segment-anything] [--json FILE]

Scenes have seeds that no training saw; "novel" figures count only things whose combination of kind,
colour and pattern was never trained on. All models get pictures and prompts as a build gives them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script has its own folder there only

from benchmarks.tiny_figures.captions import measure_captions
from benchmarks.tiny_figures.common import Figure, Options
from benchmarks.tiny_figures.grounding import measure_grounding
from benchmarks.tiny_figures.identities import measure_identities
from benchmarks.tiny_figures.masks import measure_masks
from benchmarks.tiny_figures.phrases import measure_phrases

MEASUREMENTS: dict[str, Callable[[Options], list[Figure]]] = {
    "grounding-dino": measure_grounding,
    "segment-anything": measure_masks,
    "open-clip": measure_phrases,
    "dinov2": measure_identities,
    "blip": measure_captions,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--only", choices=MEASUREMENTS, action="append")
    parser.add_argument("--weights", default="tiny", help="tiny, or a folder (with --only)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    options = Options(given.scenes, given.weights, given.device)
    figures: list[Figure] = []
    for family in given.only or MEASUREMENTS:
        figures += MEASUREMENTS[family](options)
    table = Table("family", "figure", "bar", "measured", "")
    for figure in figures:
        sign = "<=" if figure.at_most else ">="
        bar = "" if figure.bar is None else f"{sign} {figure.bar:.2f}"
        word = {None: "", True: "yes", False: "NO"}[figure.reached]
        table.add_row(figure.family, figure.name, bar, f"{figure.measured:.3f}", word)
    Console(width=max(Console().width, 100)).print(table)
    if given.json:
        rows = [asdict(figure) | {"reached": figure.reached} for figure in figures]
        report = {"scenes": given.scenes, "weights": given.weights, "figures": rows}
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

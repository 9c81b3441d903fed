"""How good are the annotations of a build? Compares tabletop datasets with the ground truth.

    python benchmarks/build_quality.py               # builds all four, in a scratch folder
    python benchmarks/build_quality.py --recipe demo --limit 50
    python benchmarks/build_quality.py --shards shards       # measures a dataset that is there

The stages never see tabletop's truth; this benchmark draws it again from the prompts and seeds
that every scene keeps. A stored instance *matches* a true one when the IoU of their boxes is at
least 0.5 (one to one, best total IoU). The flexible recipe is built once more with a filter that
lets all matches through, to see what a threshold on the DINO cosine would do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

# Run as a file, its folder is on the path and not the repository's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.quality_figures import instances, matching, views
from benchmarks.quality_figures.instances import InstanceTally
from benchmarks.quality_figures.matching import THRESHOLDS, MatchTally
from benchmarks.quality_figures.truth import truth_of
from benchmarks.quality_figures.views import ViewTally
from imig import Dataset

RECIPES = ("demo", "basic", "complex", "flexible")
BEFORE_FILTER = ("filter=null", "match.min_instances=1")
MEANING = {
    "scenes": "scenes that entered",
    "written": "scenes written",
    "rejected": "scenes turned down, with a reason",
    "quarantined": "scenes whose processing raised",
    **instances.MEANING,
    **views.MEANING,
}


def build(recipe: str, folder: Path, *, limit: int, overrides: tuple[str, ...] = ()) -> Path:
    """Run `imig build` in its tiny form."""
    settings = ["models=tiny", f"source.count={limit}", *overrides]
    sets = [part for one in settings for part in ("--set", one)]
    imig = Path(sys.executable).with_name("imig")
    subprocess.run([imig, "build", recipe, "--output", folder, *sets], check=True)
    return folder


def measure(folder: Path) -> dict[str, float]:
    """Figures of a dataset, by the names of `MEANING`."""
    dataset = Dataset(folder)
    if "source" not in dataset.manifest.recipe:
        sys.exit(f"{folder} is a merged dataset: measure what it was merged from")
    counts = dataset.manifest.counts
    things, shown = InstanceTally(), ViewTally()
    for scene in dataset:
        truth = truth_of(scene, recipe=dataset.manifest.recipe)
        if truth is None:
            sys.exit(f"{folder}: {scene.id} is not what tabletop draws from its record")
        things.add(scene, truth)
        shown.add(scene, truth)
    return {
        "scenes": counts.input,
        "written": counts.written / counts.input,
        "rejected": counts.rejected / counts.input,
        "quarantined": counts.quarantined / counts.input,
        **things.figures(),
        **shown.figures(),
    }


def measure_matching(folder: Path) -> MatchTally:
    """Matches of a flexible dataset that was built without a filter."""
    dataset, tally = Dataset(folder), MatchTally()
    for scene in dataset:
        truth = truth_of(scene, recipe=dataset.manifest.recipe)
        if truth is None:
            sys.exit(f"{folder}: {scene.id} is not what tabletop draws from its record")
        tally.add(scene, truth)
    return tally


def reject_reasons(folder: Path) -> list[tuple[str, str, int]]:
    rejects = pd.read_parquet(folder / "rejects.parquet")
    counted = Counter(zip(rejects["stage"], rejects["reason"], strict=True))
    return [(stage, reason, number) for (stage, reason), number in counted.most_common()]


def print_figures(results: dict[str, dict[str, float]], console: Console) -> None:
    table = Table(title="Annotations of builds against tabletop's ground truth")
    table.add_column("figure", no_wrap=True)
    for name in results:
        table.add_column(name, justify="right")
    table.add_column("meaning")
    for figure, meaning in MEANING.items():
        known = [result.get(figure) for result in results.values()]
        if any(value is not None for value in known):
            digits = 0 if figure == "scenes" else 3
            cells = ["" if value is None else f"{value:.{digits}f}" for value in known]
            table.add_row(figure, *cells, meaning)
    console.print(table)


def print_matching(rows: list[dict[str, float]], tally: MatchTally, console: Console) -> None:
    table = Table(
        title=f"Identity matching in {tally.scenes} flexible scenes: {tally.shown} instances show "
        f"a reference, {tally.others} are impostors"
    )
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(f"{value:.3f}" for value in row.values()))
    console.print(table)
    for name, meaning in matching.MEANING.items():
        console.print(f"  {name}: {meaning}", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shards", type=Path, help="a dataset built from tabletop")
    parser.add_argument("--recipe", choices=RECIPES, action="append", help="may be given again")
    parser.add_argument("--limit", type=int, default=200, help="scenes a recipe (default 200)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    console = Console()

    results: dict[str, dict[str, float]] = {}
    reasons: dict[str, list[tuple[str, str, int]]] = {}
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folders: dict[str, Path] = {}
        if arguments.shards is not None:
            folders[arguments.shards.name] = arguments.shards
        else:
            for recipe in arguments.recipe or RECIPES:
                folders[recipe] = build(recipe, Path(scratch) / recipe, limit=arguments.limit)
        for name, folder in folders.items():
            results[name] = measure(folder)
            reasons[name] = reject_reasons(folder)
        if arguments.shards is None and "flexible" in folders:
            folder = Path(scratch) / "matches"
            build("flexible", folder, limit=arguments.limit, overrides=BEFORE_FILTER)
            tally = measure_matching(folder)
            rows = [tally.row(threshold) for threshold in THRESHOLDS]
    print_figures(results, console)
    for name, counted in reasons.items():
        for stage, reason, number in counted:
            console.print(f"  {name}: {number:4d} turned down by {stage}: {reason}")
    if rows:
        print_matching(rows, tally, console)
    if arguments.json:
        summary: dict[str, Any] = {"figures": results, "rejects": reasons, "matching": rows}
        arguments.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()

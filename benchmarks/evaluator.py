"""Does the evaluator see what is wrong, and only that? Plants faults in scenes of known truth.

    python benchmarks/evaluator.py [--scenes 64] [--json benchmarks/results/evaluator.json]

A row of the table is one kind of pictures of the same scenes; a column is a figure of `imig
evaluate` with the tiny models.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script has its own folder there only

from benchmarks.evaluator_figures.planted import TREATMENTS, Picture
from benchmarks.evaluator_figures.scenes import TrueScene, TrueScenes, make_scene
from imig.evaluation.recipe_file import load_evaluation_recipe
from imig.evaluation.result import EvaluationResult
from imig.evaluation.run import evaluate


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=64)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="the first scenes, as a sheet")
    given = parser.parse_args(arguments)
    scenes = [make_scene(number) for number in range(given.scenes)]
    if given.picture:
        given.picture.parent.mkdir(parents=True, exist_ok=True)
        draw_sheet(scenes[:3]).save(given.picture, quality=90)
    with tempfile.TemporaryDirectory() as folder:
        results = evaluate_planted(scenes, Path(folder))
    _print(results)
    if given.json:
        rows = {
            row: {name: one.model_dump() for name, one in result.figures.items()}
            for row, result in results.items()
        }
        given.json.write_text(json.dumps({"scenes": given.scenes, "rows": rows}, indent=1) + "\n")
    return 0


def evaluate_planted(scenes: Sequence[TrueScene], folder: Path) -> dict[str, EvaluationResult]:
    """Row of the table -> figures of its pictures, which are written below `folder`.

    Only scenes take part that every row has a picture of, so that rows can be compared.
    """
    drawn: dict[str, dict[str, Picture]] = {}
    for one in scenes:
        pictures = {row: draw(one) for row, draw in TREATMENTS.items()}
        there = {row: picture for row, picture in pictures.items() if picture is not None}
        if len(there) == len(pictures):
            drawn[one.id] = there
    kept = [one for one in scenes if one.id in drawn]
    recipe = load_evaluation_recipe("evaluate", overrides=["models=tiny"]).recipe
    results = {}
    for row in TREATMENTS:
        place = folder / row.replace(" ", "-")
        place.mkdir(parents=True)
        for one in kept:
            Image.fromarray(drawn[one.id][row]).save(place / f"{one.id}.png")
        results[row] = evaluate(
            place,
            TrueScenes(kept),
            recipe,
            output=folder / f"{place.name}-evaluation",
            console=Console(quiet=True),
        )
    return results


def draw_sheet(scenes: Sequence[TrueScene]) -> Image.Image:
    """A line for each scene, its pictures in the order of the table's rows."""
    side = scenes[0].rendered.image.shape[0]
    sheet = Image.new("RGB", (side * len(TREATMENTS), side * len(scenes)))
    for line, one in enumerate(scenes):
        for column, draw in enumerate(TREATMENTS.values()):
            picture = draw(one)
            if picture is not None:
                sheet.paste(Image.fromarray(picture), (column * side, line * side))
    return sheet


def _print(results: Mapping[str, EvaluationResult]) -> None:
    figures = list(next(iter(results.values())).figures)
    scenes = next(iter(results.values())).cases
    table = Table("", *figures, title=f"{scenes} scenes of the procedural world, tiny models")
    for row, result in results.items():
        table.add_row(row, *(f"{result.figures[name].value:.3f}" for name in figures))
    Console(width=max(Console().width, 160)).print(table)


if __name__ == "__main__":
    raise SystemExit(main())

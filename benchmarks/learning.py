"""Does ContextGen's adapter learn layout and identity? Trains the ablations, draws, and looks.

    python benchmarks/learning.py --shards shards [--steps 800] [--runs runs/learning]

Every row of the table is drawn from the same held-out layouts and the same noise. Three limits
stand beside: the true pictures, the same through the autoencoder (nothing that is drawn can be
better), and the layout images pasted together from the references (which place and identity alone
would earn; no model ran, and it is no picture). A training that was stopped goes on when the
command is given again; one that is finished is not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script has its own folder there only

from benchmarks.learning_figures.drawing import Picture, Studio
from benchmarks.learning_figures.measuring import Eyes, Figures
from benchmarks.learning_figures.sheet import draw_sheet
from benchmarks.learning_figures.variants import VARIANTS, Variant
from imig.models.device import choose_device, choose_dtype
from imig.training.data import TrainingData
from imig.training.loop import ADAPTER_FILE, train
from imig.training.recipe import TrainRecipe
from imig.training.recipe_file import load_training_recipe

TITLES = ("box mIoU", "instance success", "own reference", "other references", "own nearest")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    given = _parser().parse_args(arguments)
    chosen = [one for one in VARIANTS if not given.only or one.name in given.only]
    recipes = [_recipe(one, given) for one in chosen]
    adapters = []
    for variant, recipe in zip(chosen, recipes, strict=True):
        run = given.runs / variant.name
        code = train(recipe, given.shards, run=run, resume=True)
        if code:
            return code
        adapters.append(run / ADAPTER_FILE)

    recipe = load_training_recipe(given.recipe, overrides=given.overrides)
    device = choose_device(recipe.device)
    studio = Studio(recipe, device=device, dtype=choose_dtype(recipe.model.dtype, device))
    data = TrainingData(given.shards, config=recipe.data, seed=recipe.seed, batch_size=1)
    count = min(given.layouts, len(data.validation))
    samples = [data.validation_pictures(number) for number in range(count)]
    held_out = data.validation[:count]
    scenes = [data.datasets[one.dataset][one.id] for one in held_out]
    targets = [one.target for one in samples if one.target is not None]
    encoded = studio.encode(samples)
    rows: list[tuple[str, list[Picture]]] = [
        ("limit: true pictures", targets),
        ("limit: true pictures through the autoencoder", studio.through_codec(targets)),
        ("limit: layout images, no model", [one.layout for one in samples]),
        ("before training", studio.draw(encoded, adapter=None)),
    ]
    for variant, adapter in zip(chosen, adapters, strict=True):
        rows.append((variant.title, studio.draw(encoded, adapter=adapter)))

    eyes = Eyes(device=recipe.device)
    measured = [(title, eyes.measure(pictures, scenes)) for title, pictures in rows]
    _print(measured, layouts=count, steps=recipe.steps)
    if given.json:
        _write_json(given.json, measured, layouts=count, recipe=recipe)
    if given.picture:
        drawn = [(title, pictures[: given.shown]) for title, pictures in (*rows[3:], rows[0])]
        given.picture.parent.mkdir(parents=True, exist_ok=True)
        draw_sheet(samples[: given.shown], drawn).save(given.picture, quality=92)
        print(given.picture)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--recipe", default="train-tiny")
    parser.add_argument("--steps", type=int, help="of each training (default: the recipe's)")
    parser.add_argument("--runs", type=Path, default=Path("runs/learning"), metavar="DIR")
    parser.add_argument("--layouts", type=int, default=64)
    parser.add_argument("--only", action="append", choices=[one.name for one in VARIANTS])
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="A.B=VALUE",
        help="override a key of the recipe",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE")
    parser.add_argument("--shown", type=int, default=6, help="layouts in the picture")
    return parser


def _recipe(variant: Variant, given: argparse.Namespace) -> TrainRecipe:
    overrides = [*given.overrides, *variant.overrides]
    if given.steps:
        overrides.append(f"steps={given.steps}")
    return load_training_recipe(given.recipe, overrides=overrides)


def _print(measured: Sequence[tuple[str, Figures]], *, layouts: int, steps: int) -> None:
    table = Table("", *TITLES, title=f"{layouts} held-out layouts")
    for title, figures in measured:
        table.add_row(title, *(f"{value:.3f}" for value in asdict(figures).values()))
    Console(width=max(Console().width, 120)).print(table)


def _write_json(
    path: Path, measured: Sequence[tuple[str, Figures]], *, layouts: int, recipe: TrainRecipe
) -> None:
    report = {
        "layouts": layouts,
        "recipe": recipe.model_dump(mode="json"),
        "rows": [{"row": title, **asdict(figures)} for title, figures in measured],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())

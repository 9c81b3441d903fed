"""What does ICA do? Trains ContextGen's ablations where references show what the layout cannot.

    python benchmarks/ablation.py prompts --output prompts.jsonl
    imig build complex --set models=tiny --set source.path=prompts.jsonl --set source.count=null \
      --output shards
    imig split shards --validation 0.08
    imig encode shards-split/train --set data.edit_probability=1 --output encoded
    python benchmarks/ablation.py train --shards encoded [--seeds 0 1] [--only recipe]
    python benchmarks/ablation.py evaluate --cases shards-split/validation

References are edited views; scenes overlap, and have things that differ in one word. Trainings come
by importance, and each goes on where it was stopped when the command is given again; `evaluate`
draws the held-out scenes with every adapter that is finished, and prints the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script has its own folder there only

import imig
from benchmarks.ablation_figures.limits import draw_limits
from benchmarks.ablation_figures.prompts import write_look_alike_prompt
from benchmarks.ablation_figures.table import make_rows, rows_to_json, rows_to_markdown
from benchmarks.ablation_figures.variants import VARIANTS, Variant
from imig.training.loop import ADAPTER_FILE, train
from imig.training.recipe_file import load_training_recipe

SETTINGS = ("data.edit_probability=1", "data.validation_fraction=0.02", "watch.pictures=1")
"""On the recipe, of every row."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    given = _parser().parse_args(arguments)
    run: int = given.run(given)
    return run


def write_prompts(given: argparse.Namespace) -> int:
    """A line of JSON for each scene."""
    with given.output.open("w", encoding="utf-8") as file:
        for number in range(given.count):
            prompt = write_look_alike_prompt(number, seed=0)
            file.write(prompt.model_dump_json(exclude_defaults=True) + "\n")
    return 0


def train_variants(given: argparse.Namespace) -> int:
    """An adapter for each setting and seed."""
    for variant, seed in by_importance(given.seeds, given.only):
        run = given.runs / f"{variant.name}-{seed}"
        if (run / ADAPTER_FILE).exists():
            continue
        overrides = [*SETTINGS, *given.overrides, *variant.overrides, f"seed={seed}"]
        recipe = load_training_recipe(given.recipe, overrides=overrides)
        code = train(recipe, [given.shards], run=run, resume=run.exists())
        if code:
            return code
    return 0


def evaluate_variants(given: argparse.Namespace) -> int:
    """Draws the cases with every adapter that is there, and prints the table."""
    overrides = {"models": "tiny", "colour": None, "clip": None}
    console = Console(stderr=True)
    recipe = load_training_recipe(given.recipe)
    limits = draw_limits(given.cases, recipe=recipe, runs=given.runs, limit=given.limit)
    for title, pictures in limits.items():
        print(title, file=sys.stderr)
        limits[title] = output = pictures.with_name(f"{pictures.name}-evaluation")
        imig.evaluate(
            pictures,
            given.cases,
            output=output,
            overrides=overrides,
            partial=True,
            console=console,
        )
    evaluations = {}
    for variant, seed in by_importance(given.seeds, given.only):
        adapter = given.runs / f"{variant.name}-{seed}" / ADAPTER_FILE
        if not adapter.exists():
            continue
        output = given.runs / f"{variant.name}-{seed}" / "bench"
        print(output, file=sys.stderr)
        imig.bench(
            given.cases,
            adapter=adapter,
            output=output,
            limit=given.limit,
            measure="evaluate",
            overrides=overrides,
            workers=1,
            console=console,
        )
        evaluations[variant.name, seed] = output
    rows = make_rows(evaluations, limits=limits)
    print(rows_to_markdown(rows))
    if given.json:
        given.json.write_text(json.dumps(rows_to_json(rows), indent=1) + "\n", encoding="utf-8")
    return 0


def by_importance(seeds: Sequence[int], only: Sequence[str]) -> Iterator[tuple[Variant, int]]:
    """First the three rows that the question is about, with every seed; then the others."""
    chosen = [one for one in VARIANTS if not only or one.name in only]
    first = [one for one in chosen if one in VARIANTS[:3]]
    yield from ((variant, seed) for seed in seeds for variant in first)
    yield from ((variant, seed) for seed in seeds for variant in chosen if variant not in first)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(required=True)

    prompts = steps.add_parser("prompts", help="prompts with look-alikes")
    prompts.add_argument("--output", type=Path, required=True, metavar="FILE")
    prompts.add_argument("--count", type=int, default=1800)
    prompts.set_defaults(run=write_prompts)

    training = steps.add_parser("train", help="an adapter for each setting and seed")
    training.add_argument("--shards", type=Path, required=True, metavar="DIR")
    training.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="A.B=VALUE"
    )
    training.set_defaults(run=train_variants)

    evaluation = steps.add_parser("evaluate", help="draw held-out scenes, measure, print the table")
    evaluation.add_argument("--cases", type=Path, required=True, metavar="DIR")
    evaluation.add_argument("--limit", type=int, metavar="N", help="only the first N cases")
    evaluation.add_argument("--json", type=Path, metavar="FILE")
    evaluation.set_defaults(run=evaluate_variants)

    for one in (training, evaluation):
        one.add_argument("--recipe", default="train-tiny")
        one.add_argument("--runs", type=Path, default=Path("runs/ablation"), metavar="DIR")
        one.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
        one.add_argument("--only", action="append", default=[], choices=[v.name for v in VARIANTS])
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

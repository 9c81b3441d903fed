"""What does ICA do? Trains ContextGen's ablations where references show what the layout cannot.

imig build complex --set models=tiny --set source.path=prompts.jsonl --output shards
python benchmarks/ablation.py --shards ... [--seeds 0 1] [--steps 600] [--runs runs/ablation]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script has its own folder there only

from benchmarks.ablation_figures.variants import VARIANTS, Variant
from imig.training.loop import ADAPTER_FILE, train
from imig.training.recipe_file import load_training_recipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    given = _parser().parse_args(arguments)
    for variant, seed in by_importance(given.seeds, given.only):
        run = given.runs / f"{variant.name}-{seed}"
        if (run / ADAPTER_FILE).exists():
            continue
        overrides = [*given.overrides, *variant.overrides, f"seed={seed}"]
        code = train(
            load_training_recipe(given.recipe, overrides=overrides),
            [given.shards],
            run=run,
            resume=run.exists(),
        )
        if code:
            return code
    return 0


def by_importance(seeds: Sequence[int], only: Sequence[str]) -> Iterator[tuple[Variant, int]]:
    """First the three rows that the question is about, with every seed; then the others."""
    chosen = [one for one in VARIANTS if not only or one.name in only]
    first = [one for one in chosen if one in VARIANTS[:3]]
    yield from ((variant, seed) for seed in seeds for variant in first)
    yield from ((variant, seed) for seed in seeds for variant in chosen if variant not in first)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True, metavar="DIR")
    parser.add_argument("--recipe", default="train-tiny")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"), metavar="DIR")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", action="append", default=[], choices=[v.name for v in VARIANTS])
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=VALUE")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

"""A build without an engine: the stages of a recipe in a loop, over every n-th block.

    python -m benchmarks.suite.parts._plain_loop RECIPE FIRST EVERY SCENES OUTPUT

Two of them, each with half of the blocks, are what two cores can do at best: nothing is handed from
process to process, counted, retried, joined or described.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from imig.engine.blocks import Block, run_stage
from imig.engine.parts import write_part
from imig.engine.plan import make_plan
from imig.recipe.file import load_recipe
from imig.stages.loading import shared_models
from imig.threads import limit_threads


def main() -> None:
    recipe, first, every, scenes, output = sys.argv[1:]
    warnings.filterwarnings("ignore")
    limit_threads(1)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    loaded = load_recipe(recipe, overrides=["models=tiny"])
    plan = make_plan(loaded, output=folder, limit=int(scenes))
    with shared_models():
        for step in plan.steps:
            step.stage.setup()
    for number in range(int(first), plan.blocks, int(every)):
        start, stop = plan.block_range(number)
        block = Block(number, start, stop, samples=plan.source.enumerate(start, stop))
        for step in plan.steps:
            size = step.resources.first_batch_size(plan.block_size)
            run_stage(block, step.stage, batch_size=size)
        write_part(folder, block)


if __name__ == "__main__":
    main()

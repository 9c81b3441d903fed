"""A build as its own process, for poison to work on: drawn rectangles, no models.

    poison_build.py OUTPUT RECIPE TIMEOUT

`support/poison/sitecustomize.py`, on PYTHONPATH, makes its workers misbehave.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

import imig.engine.build as engine
from imig.cli import run_command
from imig.recipe.parts import Resources
from support.engine_stages import Judge, make_test_plan

SCENES = 24


def main() -> int:
    output, recipe, timeout = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    plan = make_test_plan(output, recipe=recipe, scenes=SCENES, judge=Judge())
    drawn, judged = plan.steps
    steps = (drawn, replace(judged, resources=Resources(batch_size=3, timeout=timeout)))
    engine.build(replace(plan, steps=steps), Console(width=200))
    return 0


if __name__ == "__main__":
    sys.exit(run_command("build", main))

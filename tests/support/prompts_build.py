"""A build whose prompts a language model writes, as its own process, without Ray.

prompts_build.py RECIPE OUTPUT [--overwrite]
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from rich.console import Console

import imig.engine.build as engine
from imig.cli import run_command
from imig.engine.folder import BuildFolder
from imig.engine.plan import make_plan
from imig.engine.status import BuildObserver
from imig.recipe.file import load_recipe
from support.engine_build import run_in_process


def build_here(recipe: Path, output: Path, *, overwrite: bool = False) -> str:
    """Build in this process; returns what was printed."""
    screen = io.StringIO()
    plan = make_plan(load_recipe(recipe), output=output)
    with patch.object(engine, "run_blocks", _run_blocks):
        engine.build(plan, Console(file=screen, width=120), overwrite=overwrite)
    return screen.getvalue()


def _run_blocks(
    folder: BuildFolder,
    blocks: list[int],
    console: Console,
    *,
    observers: Sequence[BuildObserver],
) -> None:
    for step in folder.plan.steps:
        step.stage.setup()
    run_in_process(folder, blocks, console, observers=observers)


def main() -> int:
    print(build_here(Path(sys.argv[1]), Path(sys.argv[2]), overwrite="--overwrite" in sys.argv))
    return 0


if __name__ == "__main__":
    sys.exit(run_command("build", main))

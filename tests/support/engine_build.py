"""A build as its own process, to be killed; and the same build in this one.

    engine_build.py OUTPUT RECIPE SECONDS [in-process]

With ``in-process`` blocks run one after the other without Ray: starts fast, so that many kills
fit into a test of what lies on the disk.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

from rich.console import Console

import imig.engine.build as engine
from imig.cli import run_command
from imig.engine.blocks import Block
from imig.engine.fitting import FittingSize, run_fitting
from imig.engine.folder import BuildFolder
from imig.engine.parts import write_part
from imig.engine.progress import BuildProgress
from imig.engine.retry import drop_failed_parts
from imig.engine.sizes import SizesFile, begin_sizes
from imig.engine.status import BuildObserver
from imig.engine.tally import Snapshot
from imig.engine.workers import FinishedBlock, finished_block
from imig.errors import DataError
from imig.stores.path import OutputPath
from imig.stores.places import output_folder
from support.engine_stages import Judge, make_test_plan

SCENES = 90


def build_here(output: OutputPath, recipe: Path, *, ray: bool, seconds: float = 0.0) -> str:
    """Build, or finish what a killed process left; returns what was printed.

    `ray` takes the Ray that is up, or starts one. A scene takes `seconds`.
    """
    judge = Judge(seconds=seconds, raise_on=[5])
    plan = make_test_plan(output, recipe=recipe, scenes=SCENES, judge=judge)
    screen = io.StringIO()
    with patch.object(engine, "run_blocks", engine.run_blocks if ray else run_in_process):
        engine.build(plan, Console(file=screen, width=120))
    return screen.getvalue()


def run_in_process(
    folder: BuildFolder,
    blocks: list[int],
    console: Console,
    *,
    observers: Sequence[BuildObserver] = (),
) -> None:
    """Stands in for Ray's execution, which has tests of its own."""
    try:
        progress = BuildProgress(folder.plan, console, finished_scenes=0, observers=observers)
        sizes = SizesFile(folder.batch_sizes, folder.plan, tell=progress.warn)
        events = finish_blocks(folder, blocks, begin_sizes(folder.plan, sizes.found))
        with progress:
            engine.collect_blocks(folder, blocks, events, progress, sizes)
    except DataError:
        drop_failed_parts(folder)
        raise


def finish_blocks(
    folder: BuildFolder, blocks: Sequence[int], sizes: dict[str, FittingSize]
) -> Iterator[FinishedBlock | Snapshot]:
    """Run blocks one after the other and write their parts, as a single worker would."""
    plan = folder.plan
    for step in plan.steps:
        step.stage.use_batch_size(sizes[step.stage.name].now)
    for number in blocks:
        start, stop = plan.block_range(number)
        block = Block(number, start, stop, samples=plan.source.enumerate(start, stop))
        for step in plan.steps:
            run_fitting(block, step.stage, sizes[step.stage.name])
        write_part(folder.parts, block)
        told = {name: sizes[name].now for name, one in block.tallies.items() if one.batch_sizes}
        if told:
            yield Snapshot(batch_sizes=told)
        yield finished_block(block)


def main() -> int:
    output, recipe, seconds = output_folder(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    build_here(output, recipe, ray=sys.argv[4:] != ["in-process"], seconds=seconds)
    return 0


if __name__ == "__main__":
    sys.exit(run_command("build", main))

"""A build as its own process, to be killed.

    engine_build.py OUTPUT RECIPE SCENES SECONDS [in-process]

With ``in-process`` blocks run one after the other without Ray: starts fast, so that many kills
fit into a test of what lies on the disk.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

import imig.engine.build as engine
from imig.cli import run_command
from imig.engine.blocks import Block, run_stage
from imig.engine.folder import BuildFolder
from imig.engine.parts import write_part
from support.engine_stages import Judge, make_test_plan


def run_in_process(folder: BuildFolder, blocks: list[int], console: Console) -> None:
    """Stands in for Ray's execution, which has tests of its own."""
    plan = folder.plan
    for number in blocks:
        start, stop = plan.block_range(number)
        block = Block(number, start, stop, samples=plan.source.enumerate(start, stop))
        for step in plan.steps:
            run_stage(block, step.stage, batch_size=step.resources.batch_size)
        write_part(folder.parts, block)
        shard = number // plan.blocks_per_shard
        if set(plan.shard_blocks(shard)) <= folder.finished_parts():
            folder.join_shard(shard)


def main() -> int:
    output, recipe, scenes, seconds = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5]
    plan = make_test_plan(
        output,
        recipe=recipe,
        scenes=int(scenes),
        judge=Judge(seconds=float(seconds), raise_on=[5]),
    )
    if sys.argv[5:] == ["in-process"]:
        engine.run_blocks = run_in_process
    engine.build(plan, Console())
    return 0


if __name__ == "__main__":
    sys.exit(run_command("build", main))

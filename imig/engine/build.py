"""Build a dataset: `imig build`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from imig.console.interrupt import interrupt_once
from imig.console.lines import say
from imig.console.texts import seconds_to_text
from imig.engine.deaths import read_deaths, write_deaths
from imig.engine.failures import Failures, errors_must_wait
from imig.engine.finish import FinishedBuild, finish_build
from imig.engine.folder import BuildFolder, build_output
from imig.engine.groups import Group
from imig.engine.machine import Machine, local_machine
from imig.engine.node_checks import check_nodes
from imig.engine.nodes import (
    NodesLostError,
    alive_nodes,
    needed,
    require_resources,
    wait_for_nodes,
)
from imig.engine.patience import Patience
from imig.engine.plan import Plan
from imig.engine.plan_text import print_remarks, print_skipped
from imig.engine.progress import BuildProgress
from imig.engine.prompts import write_missing_prompts
from imig.engine.retry import (
    count_failures,
    drop_cured_parts,
    drop_failed_parts,
    drop_hopeless_parts,
    has_failed_parts,
    waiting_blocks,
)
from imig.engine.sizes import SizesFile, batch_sizes_to_text, begin_sizes
from imig.engine.status import BuildObserver
from imig.engine.tally import Snapshot
from imig.errors import DataError
from imig.output.folder import hold
from imig.output.report import counts_to_text, faults_to_text, print_funnel
from imig.paths import command_text

if TYPE_CHECKING:
    from imig.engine.workers import FinishedBlock


def build(
    plan: Plan,
    console: Console,
    *,
    overwrite: bool = False,
    observers: Sequence[BuildObserver] = (),
) -> FinishedBuild | None:
    """Build the plan's dataset, or finish what an interrupted run began.

    Returns None when the dataset is finished already. `observers` are told what happens.

    Raises
    ------
    UsageError
        The folder holds something else, another build writes into it, or a model cannot be loaded.
    DataError
        Too many scenes fail; finished work is kept.
    KeyboardInterrupt
        Ctrl-C or SIGTERM; finished work is kept.
    """
    from imig.engine.cluster import remove_dead_sessions

    started = time.monotonic()
    remove_dead_sessions()
    if not overwrite and (manifest := build_output(plan).finished()) is not None:
        build_output(plan).remove_leftovers()
        counts = manifest.counts
        say(
            console,
            f"{plan.output} is finished already: {counts.written} scenes in "
            f"{len(manifest.shards)} shards ({counts_to_text(counts)}); --overwrite builds it anew",
        )
        for one in observers:
            one.was_finished(manifest, output=plan.output)
        return None
    with hold(plan.output, overwrite=overwrite):
        write_missing_prompts(plan, console, overwrite=overwrite)
        folder = BuildFolder(plan)
        folder.output.prepare()
        drop_hopeless_parts(folder)
        for again in (False, True):  # what could not be opened may have come back meanwhile
            drop_cured_parts(folder)
            folder.join_finished_shards(without=waiting_blocks(folder))
            blocks = folder.pending_blocks()
            if blocks and again:
                say(console, "scenes for which the system was at fault: once more")
            if blocks:
                run_blocks(folder, blocks, console, observers=observers)
        join_last_shards(folder)
        finished = finish_build(folder, seconds=time.monotonic() - started)
    for one in observers:
        one.finished(finished, seconds=time.monotonic() - started)
    _print_end(finished, console, seconds=time.monotonic() - started)
    return finished


def build_each(
    plans: Sequence[Plan],
    console: Console,
    *,
    overwrite: bool = False,
    observers: Sequence[BuildObserver] = (),
) -> list[FinishedBuild | None]:
    """Build one dataset after the other, all on one Ray, which takes seconds to start.

    Returns and raises what `build` does; a dataset that fails ends the row.
    """
    with interrupt_once(), ExitStack() as stack:
        if len(plans) > 1 and (overwrite or not all(build_output(one).finished() for one in plans)):
            stack.enter_context(_ray_session(plans))
        return [build(plan, console, overwrite=overwrite, observers=observers) for plan in plans]


def run_blocks(
    folder: BuildFolder,
    blocks: list[int],
    console: Console,
    *,
    observers: Sequence[BuildObserver] = (),
) -> None:
    """Run blocks through the stages on Ray, and join shards as they become complete."""
    plan = folder.plan
    finished = _finished_scenes(plan, blocks)
    say(
        console,
        f"building {plan.loaded.recipe.name}: {plan.scenes} scenes -> {plan.output}"
        + (f" ({finished} finished by an earlier run)" if finished else ""),
    )
    print_skipped(plan, console)
    print_remarks(plan, console)
    for one in observers:
        one.started(plan, finished_scenes=finished)
    progress = BuildProgress(plan, console, finished_scenes=finished, observers=observers)
    try:
        with progress:
            sizes = SizesFile(folder.batch_sizes, plan, tell=progress.warn)
            _stream(folder, blocks, progress, sizes)
    except DataError:
        drop_failed_parts(folder)
        raise


def _stream(
    folder: BuildFolder, blocks: list[int], progress: BuildProgress, sizes: SizesFile
) -> None:
    """Run blocks on Ray, again and again as long as nodes are lost and others take their place.

    Ray's own death (`RayLost`) is looked for before lost nodes are, and ends the run: nothing can
    be asked of a Ray without its head. A node is the system's fault as well, but one that others
    make up for: workers that it took along count as killed by no scene. What is known by then, of
    scenes that kill and of batches that fit, has been written down with the last snapshot and is
    read again.
    """
    plan = folder.plan
    with _ray_session([plan]) as machine:
        # Imports Ray, which reads the environment that the session has set.
        from imig.engine.stream import stream_blocks

        wanted = plan.groups(machine)
        groups = require_resources(wanted, alive_nodes())
        if plan.loaded.recipe.engine.ray_address is not None:
            check_nodes(plan, wanted, state=folder.output.state)
        if groups != wanted:
            progress.warn(f"the nodes hold fewer workers side by side: {_workers_to_text(groups)}")
        while blocks:
            progress.show_workers(groups, finished_scenes=_finished_scenes(plan, blocks))
            stream = stream_blocks(
                plan,
                blocks,
                groups=groups,
                parts=folder.parts,
                sizes=begin_sizes(plan, sizes.found),
                deaths=read_deaths(folder.deaths),
            )
            try:
                with closing(stream) as events:
                    collect_blocks(folder, blocks, events, progress, sizes)
                return
            except NodesLostError as lost:
                progress.warn(str(lost))
                groups = wait_for_nodes(wanted, progress.warn)
                blocks = folder.pending_blocks()
                progress.warn(f"going on with the workers that fit: {_workers_to_text(groups)}")


def collect_blocks(
    folder: BuildFolder,
    blocks: Sequence[int],
    events: Iterable[FinishedBlock | Snapshot | str],
    progress: BuildProgress,
    sizes: SizesFile,
) -> None:
    """Join shards as they become complete, and watch how many scenes fail.

    Raises DataError when too many do.
    """
    plan = folder.plan
    limit = plan.loaded.recipe.engine.max_error_rate
    failures = Failures(limit)
    patience = Patience(plan.loaded.recipe.engine.patience, tell=progress.warn)
    missing = _blocks_by_shard(plan, blocks)
    waiting = {block // plan.blocks_per_shard for block in waiting_blocks(folder)}
    for event in events:
        if isinstance(event, Snapshot):
            if event.deaths is not None:
                keep = partial(write_deaths, folder.deaths, event.deaths)
                patience.run(keep, what="writing down what kills workers")
            progress.show(event)
            sizes.update(event.batch_sizes)
            continue
        if isinstance(event, str):
            progress.warn(event)
            continue
        progress.advance(event.input)
        shard = event.block // plan.blocks_per_shard
        counts = {"seen": event.input, "written": event.written}
        failures.add(errors=event.errors, **counts)
        failures.require_few()
        if errors_must_wait(event.errors, system_faults=event.system_faults, **counts):
            waiting.add(shard)
        missing[shard].discard(event.block)
        if not missing[shard] and shard not in waiting:
            patience.run(partial(folder.join_shard, shard), what=f"joining shard {shard}")


def join_last_shards(folder: BuildFolder) -> None:
    """Join the shards that have waited for the end, now that every block is through.

    Raises
    ------
    DataError
        Nothing could be written, or too many scenes have failed; the next run tries them again.
    """
    if has_failed_parts(folder):
        limit = folder.plan.loaded.recipe.engine.max_error_rate
        try:
            count_failures(folder, limit=limit).require_success()
        except DataError:
            drop_failed_parts(folder)
            raise
    folder.join_finished_shards()


def _workers_to_text(groups: Sequence[Group]) -> str:
    return ", ".join(f"{one.workers} of {one.name}" for one in groups)


def _ray_session(plans: Sequence[Plan]) -> AbstractContextManager[Machine]:
    """Ray for builds one after the other: as the first recipe says, large enough for each."""
    from imig.engine.cluster import ray_session

    machine = local_machine()
    return ray_session(
        address=plans[0].loaded.recipe.engine.ray_address,
        needed_cpus=max(needed(plan.groups(machine), "cpus") for plan in plans),
    )


def _finished_scenes(plan: Plan, pending: Sequence[int]) -> int:
    """Scenes that are in none of the blocks that are still to be run."""
    return plan.scenes - sum(stop - start for start, stop in map(plan.block_range, pending))


def _blocks_by_shard(plan: Plan, blocks: Sequence[int]) -> dict[int, set[int]]:
    by_shard: dict[int, set[int]] = {}
    for block in blocks:
        by_shard.setdefault(block // plan.blocks_per_shard, set()).add(block)
    return by_shard


def _print_end(finished: FinishedBuild, console: Console, *, seconds: float) -> None:
    counts = finished.manifest.counts
    print_funnel(finished.funnel, console)
    if (said := faults_to_text(counts, finished.funnel)) is not None:
        say(console, said)
    for record in finished.manifest.batch_sizes:
        say(console, batch_sizes_to_text(record))
    say(
        console,
        f"wrote {counts.written} scenes in {len(finished.manifest.shards)} shards to "
        f"{finished.output} ({counts_to_text(counts)}) in {seconds_to_text(seconds)}",
    )
    validate = command_text("imig", "validate", finished.output)
    preview = command_text("imig", "preview", "--random", "--shards", finished.output)
    say(console, f"next: {validate}   {preview}")

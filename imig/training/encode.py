"""Encode a dataset: `imig encode`. Text encoders and autoencoder see each scene once."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from rich.console import Console

from imig.console.interrupt import interrupt_once
from imig.console.lines import say
from imig.console.texts import seconds_to_text
from imig.output.folder import build_lock, delete_dataset, remove_temporaries
from imig.schema import Manifest
from imig.training.encode_folder import (
    EncodePlan,
    finish_folder,
    finished_manifest,
    keep_record,
    make_plan,
    prepare_folder,
    remove_state,
)
from imig.training.encode_progress import EncodeProgress
from imig.training.encode_workers import default_workers, encode_shards
from imig.training.recipe import TrainRecipe


def encode_dataset(
    source: str | Path,
    recipe: TrainRecipe,
    *,
    output: Path,
    console: Console,
    workers: int | None = None,
    overwrite: bool = False,
) -> Manifest | None:
    """Write a dataset with the samples of `source` and what a training encodes of them.

    An interrupted run is finished: whole shards are kept. Returns None when the dataset is finished
    already.

    Parameters
    ----------
    source:
        A dataset's folder or address.
    recipe:
        Of the training: weights, dtype, sizes, instruction.
    workers:
        Processes; None: one a GPU, or one for two cores.

    Raises
    ------
    UsageError
        The call is at fault: paths, weights, something else in the output folder.
    DataError
        A sample is damaged; finished shards are kept.
    KeyboardInterrupt
        Ctrl-C or SIGTERM; finished shards are kept.
    """
    started = time.monotonic()
    plan = make_plan(source, recipe, output=output)
    output = plan.output
    if not overwrite and (manifest := finished_manifest(plan)) is not None:
        if plan.state.exists():
            # Killed between writing the manifest and clearing up.
            with build_lock(output):
                remove_state(plan)
        say(
            console,
            f"{output} is finished already: {manifest.counts.written} scenes in "
            f"{len(manifest.shards)} shards; --overwrite encodes them anew",
        )
        return None
    with interrupt_once():
        if overwrite and output.exists():
            with build_lock(output):
                delete_dataset(output)
        with build_lock(output):
            prepare_folder(plan)
            _encode_rest(plan, console, workers=workers)
            manifest = finish_folder(plan)
    megabytes = sum(shard.bytes for shard in manifest.shards) / 1e6
    plain = sum(shard.bytes for shard in plan.source.manifest.shards) / 1e6
    say(
        console,
        f"encoded {manifest.counts.written} scenes in {len(manifest.shards)} shards to {output} "
        f"({megabytes:.1f} MB, of which {megabytes - plain:.1f} MB are new) in "
        f"{seconds_to_text(time.monotonic() - started)}",
    )
    return manifest


def _encode_rest(plan: EncodePlan, console: Console, *, workers: int | None) -> None:
    left = [shard for shard in plan.shards if not plan.shard_is_finished(shard)]
    total = len(plan.source)
    before = total - sum(len(plan.shards[shard]) for shard in left)
    workers = max(1, min(workers or default_workers(plan.device), len(left)))
    say(
        console,
        f"encoding {plan.source.path}: {total} scenes -> {plan.output} with "
        f"{plan.encoding.weights} ({plan.encoding.dtype}) on {plan.device}, "
        f"{workers} {'process' if workers == 1 else 'processes'}"
        + (f" ({before} scenes finished by an earlier run)" if before else ""),
    )
    if not left:
        return
    try:
        with (
            EncodeProgress(console, total=total, before=before) as progress,
            closing(
                encode_shards(plan, left, workers=workers, on_progress=progress.show)
            ) as finished,
        ):
            for shard, record in finished:
                keep_record(plan, shard, record)
    finally:
        remove_temporaries(plan.output)  # of workers that were stopped

"""Encode a dataset: `imig encode`. Text encoders and autoencoder see each scene once."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import torch
from rich.console import Console

from imig.console.lines import say
from imig.console.texts import seconds_to_text
from imig.output.folder import OutputFolder, hold, remove_temporaries
from imig.output.record import write_record
from imig.schema import Manifest
from imig.stores.path import OutputPath
from imig.training.encode_folder import EncodePlan, encode_output, finish_encoding, make_plan
from imig.training.encode_progress import EncodeProgress
from imig.training.encode_workers import default_workers, encode_shards
from imig.training.recipe import TrainRecipe


def encode_dataset(
    source: str | Path,
    recipe: TrainRecipe,
    *,
    output: str | OutputPath,
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
    folder = encode_output(plan)
    if not overwrite and (manifest := folder.finished()) is not None:
        folder.remove_leftovers()
        say(
            console,
            f"{folder.path} is finished already: {manifest.counts.written} scenes in "
            f"{len(manifest.shards)} shards; --overwrite encodes them anew",
        )
        return None
    with hold(folder.path, overwrite=overwrite):
        folder.prepare()
        _encode_rest(plan, folder, console, workers=workers)
        manifest = finish_encoding(plan, folder)
    megabytes = sum(shard.bytes for shard in manifest.shards) / 1e6
    plain = sum(shard.bytes for shard in plan.source.manifest.shards) / 1e6
    say(
        console,
        f"encoded {manifest.counts.written} scenes in {len(manifest.shards)} shards to "
        f"{folder.path} ({megabytes:.1f} MB, of which {megabytes - plain:.1f} MB are new) in "
        f"{seconds_to_text(time.monotonic() - started)}",
    )
    return manifest


def _encode_rest(
    plan: EncodePlan, folder: OutputFolder, console: Console, *, workers: int | None
) -> None:
    left = [shard for shard in plan.shards if not folder.has_shard(shard)]
    total = len(plan.source)
    before = total - sum(len(plan.shards[shard]) for shard in left)
    workers = max(1, min(workers or default_workers(torch.device(plan.device)), len(left)))
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
                write_record(folder.shard_record(shard), record)
    finally:
        if isinstance(plan.output, Path):
            remove_temporaries(plan.output)  # of workers that were stopped

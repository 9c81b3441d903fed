"""The end of a build: tables, report, card, and the manifest last."""

from __future__ import annotations

from dataclasses import dataclass

from imig.engine.duplicates import remove_duplicates
from imig.engine.folder import BuildFolder
from imig.engine.plan import Plan
from imig.engine.sizes import batch_size_records
from imig.errors import DataError
from imig.output.record import Record, merge_records, read_record
from imig.output.report import record_to_funnel
from imig.output.seal import write_side_files
from imig.output.writing import Contents
from imig.recipe.identity import recipe_to_dict, recipe_to_sha256
from imig.schema import Manifest, SkippedStage
from imig.shards.funnel import FunnelRow
from imig.shards.manifest import package_versions
from imig.stores.path import OutputPath


@dataclass(frozen=True)
class FinishedBuild:
    """A finished dataset and how it came about."""

    manifest: Manifest
    funnel: list[FunnelRow]
    output: OutputPath


def finish_build(folder: BuildFolder, *, seconds: float) -> FinishedBuild:
    """Write everything that stands beside the shards; all shards must be joined.

    `seconds` is how long the run took, for the report. Safe to be killed anywhere and done again.
    """
    plan, output = folder.plan, folder.plan.output
    shards = [read_record(folder.shard_record(shard)) for shard in range(plan.shards)]
    _require_some_written(folder, shards)
    skipped = remove_duplicates(folder, shards)
    contents = Contents()
    for record in shards:
        contents.add(record)
    whole = merge_records(shards)
    _require_exactly_once(plan, contents)
    funnel = record_to_funnel(whole)
    manifest = write_side_files(
        output,
        _manifest(plan, contents, whole, skipped=skipped),
        contents,
        funnel=funnel,
        seconds=seconds,
        remarks=plan.source.remarks(),
    )
    folder.output.finish(manifest)
    return FinishedBuild(manifest=manifest, funnel=funnel, output=output)


def _manifest(
    plan: Plan, contents: Contents, whole: Record, *, skipped: list[SkippedStage]
) -> Manifest:
    recipe = plan.loaded.recipe
    return Manifest(
        name=recipe.name,
        recipe=recipe_to_dict(recipe),
        recipe_sha256=recipe_to_sha256(recipe),
        models=plan.model_records,
        packages=package_versions(),
        counts=contents.counts(),
        shards=contents.shards,
        skipped=[*plan.skipped, *skipped],
        batch_sizes=list(batch_size_records(plan, whole)),
    )


def _require_some_written(folder: BuildFolder, shards: list[Record]) -> None:
    """An empty dataset is none while scenes have failed: older versions joined such shards."""
    if any(record.rows for record in shards):
        return
    errors = [one.error for record in shards for one in record.quarantined]
    if errors:
        for shard in range(folder.plan.shards):
            folder.shard_record(shard).unlink()
        raise DataError(
            f"nothing was written: {len(errors)} of {folder.plan.scenes} scenes failed, the first "
            f"error being: {errors[0]}",
            cure="remove the cause, and run the same command again: they are tried again",
        )


def _require_exactly_once(plan: Plan, contents: Contents) -> None:
    """Written, rejected and quarantined scenes are the input, each once."""
    ids = [
        *(row.id for row in contents.rows),
        *(one.id for one in contents.rejects),
        *(one.id for one in contents.quarantined),
    ]
    if len(ids) != plan.scenes or len(set(ids)) != plan.scenes:
        raise DataError(
            f"{plan.scenes} scenes went in, {len(ids)} came out ({len(set(ids))} different ones)",
            cure="this is a fault of imig; please report it. --overwrite builds anew",
        )

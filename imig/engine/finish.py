"""The end of a build: tables, report, card, and the manifest last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from imig.engine.duplicates import (
    ShardRecords,
    decide_duplicates,
    skipped_comparison,
    without_duplicates,
)
from imig.engine.folder import BuildFolder
from imig.engine.plan import Plan
from imig.engine.sizes import batch_size_records
from imig.errors import DataError
from imig.output.record import Record, add_tallies, read_record
from imig.output.report import tallies_to_funnel
from imig.output.seal import write_side_files
from imig.output.tally import StageTally
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
    shards = partial(_records, folder)
    _require_some_written(folder, shards)
    decision = decide_duplicates(folder, shards)
    records = shards() if decision is None else without_duplicates(folder, shards, decision)
    contents, tallies, once = Contents(), dict[str, StageTally](), _EachOnce()
    for record in records:  # one in memory at a time
        contents.add(record)
        add_tallies(tallies, record.tallies)
        once.add(record)
    once.require(plan.scenes)
    funnel = tallies_to_funnel(tallies, rejects=contents.rejects, quarantined=contents.quarantined)
    manifest = write_side_files(
        output,
        _manifest(plan, contents, tallies, skipped=skipped_comparison(decision)),
        contents,
        funnel=funnel,
        seconds=seconds,
        remarks=plan.source.remarks(),
    )
    folder.output.finish(manifest)
    return FinishedBuild(manifest=manifest, funnel=funnel, output=output)


def _manifest(
    plan: Plan,
    contents: Contents,
    tallies: Mapping[str, StageTally],
    *,
    skipped: list[SkippedStage],
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
        batch_sizes=list(batch_size_records(plan, tallies)),
    )


def _records(folder: BuildFolder) -> Iterator[Record]:
    for shard in range(folder.plan.shards):
        yield read_record(folder.shard_record(shard))


def _require_some_written(folder: BuildFolder, shards: ShardRecords) -> None:
    """An empty dataset is none while scenes have failed: older versions joined such shards."""
    failed, first = 0, ""
    for record in shards():
        if record.rows:
            return
        failed += len(record.quarantined)
        first = first or next((one.error for one in record.quarantined), "")
    if failed:
        for shard in range(folder.plan.shards):
            folder.shard_record(shard).unlink()
        raise DataError(
            f"nothing was written: {failed} of {folder.plan.scenes} scenes failed, the first "
            f"error being: {first}",
            cure="remove the cause, and run the same command again: they are tried again",
        )


class _EachOnce:
    """Written, rejected and quarantined scenes are the input, each once.

    Ids are numbered through, and shards hold consecutive scenes: none may be twice in a shard, and
    no shard may begin before the one before it ends.
    """

    def __init__(self) -> None:
        self._count = 0
        self._last = (0, "")
        self._twice = 0

    def add(self, record: Record) -> None:
        """The next shard's."""
        ids = [
            *(row.id for row in record.rows),
            *(one.id for one in record.rejects),
            *(one.id for one in record.quarantined),
        ]
        self._count += len(ids)
        self._twice += len(ids) - len(set(ids))
        if ids:
            places = [(len(one), one) for one in ids]
            self._twice += min(places) <= self._last
            self._last = max(places)

    def require(self, scenes: int) -> None:
        """Raise DataError when they are not."""
        if self._count != scenes or self._twice:
            raise DataError(
                f"{scenes} scenes went in, {self._count} came out ({self._count - self._twice} "
                "different ones)",
                cure="this is a fault of imig; please report it. --overwrite builds anew",
            )

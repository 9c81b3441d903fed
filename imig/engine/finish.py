"""The end of a build: tables, report, card, and the manifest last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from imig.engine.folder import BuildFolder
from imig.engine.parts import Record, merge_records, read_record
from imig.engine.plan import Plan
from imig.engine.report import FunnelRow, record_to_funnel, write_reports
from imig.errors import DataError
from imig.recipe_file import recipe_to_dict, recipe_to_sha256
from imig.schema import Counts, Manifest, scene_from_json
from imig.shards.card import MAX_PICTURES, PICTURES_FOLDER, write_card
from imig.shards.check_folder import QUARANTINE_NAME, REJECTS_NAME
from imig.shards.index import INDEX_NAME, write_index, write_records
from imig.shards.manifest import MANIFEST_NAME, file_sha256, package_versions, write_manifest
from imig.shards.writer import JSON_MEMBER, read_tar

CARD_LICENCES = {"tabletop": "cc0-1.0"}
"""Source kind -> the hub's identifier; of other people's pictures imig knows no licence."""


@dataclass(frozen=True)
class FinishedBuild:
    """A finished dataset and how it came about."""

    manifest: Manifest
    funnel: list[FunnelRow]
    output: Path


def finish_build(folder: BuildFolder, *, seconds: float) -> FinishedBuild:
    """Write everything that stands beside the shards; all shards must be joined.

    `seconds` is how long the run took, for the report. Safe to be killed anywhere and done again.
    """
    plan, output = folder.plan, folder.output
    shards = [read_record(folder.shard_record(shard)) for shard in range(plan.shards)]
    whole = merge_records(shards)
    _require_exactly_once(plan, whole)
    write_index(output / INDEX_NAME, whole.rows)
    manifest = _manifest(plan, whole, shards, index=output / INDEX_NAME)
    _write_tables(output, whole)
    pictures = list(_draw_pictures(output, manifest))
    funnel = record_to_funnel(whole)
    write_reports(output, manifest, funnel, seconds=seconds, pictures=pictures)
    licence = CARD_LICENCES.get(plan.loaded.recipe.source.kind, "other")
    write_card(output, manifest, whole.rows, pictures=pictures, licence=licence)
    write_manifest(output / MANIFEST_NAME, manifest)
    folder.remove_state()
    return FinishedBuild(manifest=manifest, funnel=funnel, output=output)


def _manifest(plan: Plan, whole: Record, shards: list[Record], *, index: Path) -> Manifest:
    recipe = plan.loaded.recipe
    return Manifest(
        name=recipe.name,
        recipe=recipe_to_dict(recipe),
        recipe_sha256=recipe_to_sha256(recipe),
        models=plan.model_records,
        packages=package_versions(),
        counts=Counts(
            input=plan.scenes,
            written=len(whole.rows),
            rejected=len(whole.rejects),
            quarantined=len(whole.quarantined),
        ),
        shards=[record.shard for record in shards if record.shard is not None],
        index_sha256=file_sha256(index),
        skipped=list(plan.skipped),
    )


def _require_exactly_once(plan: Plan, whole: Record) -> None:
    """Written, rejected and quarantined scenes are the input, each once."""
    ids = [
        *(row.id for row in whole.rows),
        *(one.id for one in whole.rejects),
        *(one.id for one in whole.quarantined),
    ]
    if len(ids) != plan.scenes or len(set(ids)) != plan.scenes:
        raise DataError(
            f"{plan.scenes} scenes went in, {len(ids)} came out ({len(set(ids))} different ones)",
            cure="this is a fault of imig; please report it. --overwrite builds anew",
        )


def _write_tables(output: Path, whole: Record) -> None:
    import pyarrow as pa

    columns = ("id", "stage", "reason", "figures")
    write_records(
        output / REJECTS_NAME,
        [
            # As JSON: every reason has figures of its own.
            {**one.model_dump(), "figures": json.dumps(one.figures, ensure_ascii=False)}
            for one in whole.rejects
        ],
        schema=pa.schema([pa.field(name, pa.string()) for name in columns]),
    )
    columns = ("id", "stage", "error", "traceback")
    write_records(
        output / QUARANTINE_NAME,
        [one.model_dump() for one in whole.quarantined],
        schema=pa.schema([pa.field(name, pa.string()) for name in columns]),
    )


def _draw_pictures(output: Path, manifest: Manifest) -> Iterator[Path]:
    """Previews of the first samples, for the card and the report."""
    from imig.preview.picture import draw_preview
    from imig.shards.atomic import atomic_write
    from imig.shards.views import SceneView

    samples = (files for shard in manifest.shards for _, files in read_tar(output / shard.name))
    for files in islice(samples, MAX_PICTURES):
        scene = scene_from_json(files.pop(JSON_MEMBER))
        path = output / PICTURES_FOLDER / f"{scene.id}.jpg"
        with atomic_write(path) as temporary:
            picture = draw_preview(SceneView(scene, files, place=f"sample {scene.id}"))
            picture.convert("RGB").save(temporary, "JPEG", quality=88)
        yield path

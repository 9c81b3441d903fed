"""The last files of a dataset, whatever made its shards: tables, report, card, manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from imig.licences.ledger import add_up
from imig.output.report import write_reports
from imig.output.writing import Contents
from imig.schema import Manifest, scene_from_json
from imig.shards.card import MAX_PICTURES, PICTURES_FOLDER, write_card
from imig.shards.funnel import FunnelRow
from imig.shards.index import INDEX_NAME, write_index
from imig.shards.manifest import MANIFEST_NAME, file_sha256, write_manifest
from imig.shards.tables import write_tables
from imig.shards.writer import JSON_MEMBER, read_tar


def seal(
    folder: Path,
    manifest: Manifest,
    contents: Contents,
    *,
    funnel: Sequence[FunnelRow],
    seconds: float,
) -> Manifest:
    """Write what stands beside the shards; the manifest comes last."""
    manifest = write_side_files(folder, manifest, contents, funnel=funnel, seconds=seconds)
    write_manifest(folder / MANIFEST_NAME, manifest)
    return manifest


def write_side_files(
    folder: Path,
    manifest: Manifest,
    contents: Contents,
    *,
    funnel: Sequence[FunnelRow],
    seconds: float,
    remarks: Sequence[str] = (),
) -> Manifest:
    """Write everything that stands beside the shards but the manifest, which is returned.

    Safe to be killed anywhere and done again. The manifest gets counts, shards, the index's
    checksum, and the ledger of licences.

    Parameters
    ----------
    seconds:
        How long the run took, for the report.
    remarks:
        What was odd about the source, for the report.
    """
    write_index(folder / INDEX_NAME, contents.rows)
    manifest = manifest.model_copy(
        update={
            "counts": contents.counts(),
            "shards": contents.shards,
            "index_sha256": file_sha256(folder / INDEX_NAME),
            "licences": add_up(manifest, contents.rows),
        }
    )
    write_tables(folder, rejects=contents.rejects, quarantined=contents.quarantined)
    pictures = list(_draw_pictures(folder, manifest))
    write_reports(folder, manifest, funnel, seconds=seconds, pictures=pictures, remarks=remarks)
    write_card(folder, manifest, contents.rows, pictures=pictures)
    return manifest


def _draw_pictures(output: Path, manifest: Manifest) -> Iterator[Path]:
    """Previews of the first samples, for the card and the report."""
    from imig.display.picture import draw_preview
    from imig.shards.atomic import atomic_write
    from imig.shards.views import SceneView

    samples = (
        (output / shard.name, files)
        for shard in manifest.shards
        for _, files in read_tar(output / shard.name)
    )
    for shard, files in islice(samples, MAX_PICTURES):
        scene = scene_from_json(files.pop(JSON_MEMBER))
        path = output / PICTURES_FOLDER / f"{scene.id}.jpg"
        with atomic_write(path) as temporary:
            picture = draw_preview(SceneView(scene, files, place=f"sample {scene.id} in {shard}"))
            picture.convert("RGB").save(temporary, "JPEG", quality=88)
        yield path

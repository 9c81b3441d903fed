"""The last files of a dataset, whatever made its shards: tables, report, card, manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from imig.output.report import write_reports
from imig.schema import Manifest, Quarantine, Reject, scene_from_json
from imig.shards.card import MAX_PICTURES, PICTURES_FOLDER, write_card
from imig.shards.funnel import FunnelRow
from imig.shards.index import INDEX_NAME, IndexRow, write_index
from imig.shards.manifest import file_sha256
from imig.shards.tables import write_tables
from imig.shards.writer import JSON_MEMBER, read_tar

CARD_LICENCES = {"tabletop": "cc0-1.0"}
"""Source kind -> the hub's identifier; of other people's pictures imig knows no licence."""


def write_side_files(
    output: Path,
    manifest: Manifest,
    *,
    rows: Sequence[IndexRow],
    rejects: Sequence[Reject],
    quarantined: Sequence[Quarantine],
    funnel: Sequence[FunnelRow],
    seconds: float,
    licence: str,
    remarks: Sequence[str] = (),
) -> Manifest:
    """Write everything that stands beside the shards but the manifest, which is returned.

    Safe to be killed anywhere and done again. The manifest gets the index's checksum.

    Parameters
    ----------
    seconds:
        How long the run took, for the report.
    licence:
        The hub's identifier, for the card.
    remarks:
        What was odd about the source, for the report.
    """
    write_index(output / INDEX_NAME, rows)
    manifest = manifest.model_copy(update={"index_sha256": file_sha256(output / INDEX_NAME)})
    write_tables(output, rejects=rejects, quarantined=quarantined)
    pictures = list(_draw_pictures(output, manifest))
    write_reports(output, manifest, funnel, seconds=seconds, pictures=pictures, remarks=remarks)
    write_card(output, manifest, rows, pictures=pictures, licence=licence)
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

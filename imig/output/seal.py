"""The last files of a dataset, whatever made its shards: tables, report, card, manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from imig.errors import VALIDATE, DataError
from imig.licences.ledger import add_up
from imig.output.report import write_reports
from imig.output.writing import Contents
from imig.schema import Manifest, first_problem, scene_from_json
from imig.shards.atomic import atomic_write
from imig.shards.card import MAX_PICTURES, PICTURES_FOLDER, write_card
from imig.shards.funnel import FunnelRow
from imig.shards.index import INDEX_NAME, write_index
from imig.shards.manifest import MANIFEST_NAME, file_sha256, write_manifest
from imig.shards.tables import write_tables
from imig.shards.views import SceneView
from imig.shards.writer import JSON_MEMBER, member_names, read_tar


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
    licence: Mapping[str, str] | None = None,
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
    licence:
        What the card says of it; None: what follows from the ledger.
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
    write_card(folder, manifest, contents.rows, pictures=pictures, licence=licence)
    return manifest


def check_shards(shards: Sequence[Path]) -> None:
    """Raise DataError where `write_side_files` could not make what it makes of these shards."""
    from imig.display.picture import draw_preview

    for shard in shards:
        member_names(shard)
    for scene in _first_samples(shards):
        draw_preview(scene)


def _draw_pictures(output: Path, manifest: Manifest) -> Iterator[Path]:
    """Previews of the first samples, for the card and the report."""
    from imig.display.picture import draw_preview

    for scene in _first_samples([output / shard.name for shard in manifest.shards]):
        path = output / PICTURES_FOLDER / f"{scene.id}.jpg"
        with atomic_write(path) as temporary:
            draw_preview(scene).convert("RGB").save(temporary, "JPEG", quality=88)
        yield path


def _first_samples(shards: Sequence[Path]) -> Iterator[SceneView]:
    samples = ((shard, *sample) for shard in shards for sample in read_tar(shard))
    for shard, span, files in islice(samples, MAX_PICTURES):
        place = f"sample {span.id} in {shard}"
        try:
            scene = scene_from_json(files.pop(JSON_MEMBER))
        except (KeyError, ValidationError) as error:
            why = first_problem(error) if isinstance(error, ValidationError) else "it has no JSON"
            raise DataError(f"{place}: {why}", cure=VALIDATE) from error
        yield SceneView(scene, files, place=place)

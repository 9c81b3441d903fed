"""The last files of a dataset, whatever made its shards: tables, report, card, manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from imig.shards.index import INDEX_NAME, IndexRow, write_index
from imig.shards.manifest import MANIFEST_NAME, file_sha256, write_manifest
from imig.shards.tables import write_tables
from imig.shards.tar import TarMember, member_data, split_member, walk_tar
from imig.shards.views import SceneView
from imig.shards.writer import JSON_MEMBER, member_names, read_tar
from imig.stores.path import OutputPath, local_folder


def seal(
    folder: OutputPath,
    manifest: Manifest,
    contents: Contents,
    *,
    funnel: Sequence[FunnelRow],
    seconds: float,
    licence: Mapping[str, str] | None = None,
) -> Manifest:
    """Write what stands beside the shards (`write_side_files`); the manifest comes last."""
    manifest = write_side_files(
        folder, manifest, contents, funnel=funnel, seconds=seconds, licence=licence
    )
    write_manifest(folder / MANIFEST_NAME, manifest)
    return manifest


def write_side_files(
    folder: OutputPath,
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
        What the card says of it; None or empty: what follows from the ledger.
    """
    rows = contents.rows
    with local_folder(folder) as local:
        write_index(local / INDEX_NAME, rows)
        manifest = manifest.model_copy(
            update={
                "counts": contents.counts(),
                "shards": contents.shards,
                "index_sha256": file_sha256(local / INDEX_NAME),
                "licences": add_up(manifest, rows),
            }
        )
        write_tables(local, rejects=contents.rejects, quarantined=contents.quarantined)
        pictures = list(_draw_pictures(local, _first_scenes(folder, manifest, rows)))
        write_reports(local, manifest, funnel, seconds=seconds, pictures=pictures, remarks=remarks)
        write_card(
            local, manifest, rows, pictures=pictures, licence=licence, members=contents.members
        )
    return manifest


def check_shards(shards: Sequence[Path]) -> None:
    """Raise DataError where `write_side_files` could not make what it makes of these shards."""
    from imig.display.picture import draw_preview

    for shard in shards:
        member_names(shard)
    for scene in _first_samples(shards):
        draw_preview(scene)


def _draw_pictures(output: Path, scenes: Iterable[SceneView]) -> Iterator[Path]:
    """Previews of samples, for the card and the report."""
    from imig.display.picture import draw_preview

    for scene in scenes:
        path = output / PICTURES_FOLDER / f"{scene.id}.jpg"
        with atomic_write(path) as temporary:
            draw_preview(scene).convert("RGB").save(temporary, "JPEG", quality=88)
        yield path


def _first_scenes(
    folder: OutputPath, manifest: Manifest, rows: Sequence[IndexRow]
) -> Iterator[SceneView]:
    if isinstance(folder, Path):
        yield from _first_samples([folder / shard.name for shard in manifest.shards])
        return
    for row in rows[:MAX_PICTURES]:  # a range of a shard in a store, not all of it
        shard = folder / row.shard
        region = shard.read_range(row.offset, row.size)
        members = [one for one in walk_tar(region, whole=False) if isinstance(one, TarMember)]
        files = {split_member(one.name)[1]: member_data(region, one) for one in members}
        yield _view(row.id, files, shard)


def _first_samples(shards: Sequence[Path]) -> Iterator[SceneView]:
    samples = ((shard, *sample) for shard in shards for sample in read_tar(shard))
    for shard, span, files in islice(samples, MAX_PICTURES):
        yield _view(span.id, files, shard)


def _view(sample_id: str, files: dict[str, bytes], shard: OutputPath) -> SceneView:
    place = f"sample {sample_id} in {shard}"
    try:
        scene = scene_from_json(files.pop(JSON_MEMBER))
    except (KeyError, ValidationError) as error:
        why = first_problem(error) if isinstance(error, ValidationError) else "it has no JSON"
        raise DataError(f"{place}: {why}", cure=VALIDATE) from error
    return SceneView(scene, files, place=place)

"""A stream of samples becomes shards, and shards a dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from imig.output.seal import CARD_LICENCES, write_side_files
from imig.recipe.identity import recipe_to_sha256
from imig.recipe.root import Recipe
from imig.sample import Sample
from imig.schema import Counts, Manifest, Quarantine, Reject, Scene, ShardRecord, Subset
from imig.shards.dataset import Dataset
from imig.shards.funnel import FunnelRow
from imig.shards.index import IndexRow, scene_to_row
from imig.shards.manifest import MANIFEST_NAME, shard_record, write_manifest
from imig.shards.names import shard_name
from imig.shards.writer import write_tar


@dataclass
class Contents:
    """What a dataset is going to hold."""

    shards: list[ShardRecord] = field(default_factory=list)
    rows: list[IndexRow] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    quarantined: list[Quarantine] = field(default_factory=list)

    def counts(self) -> Counts:
        written, rejected, quarantined = (
            len(one) for one in (self.rows, self.rejects, self.quarantined)
        )
        return Counts(
            input=written + rejected + quarantined,
            written=written,
            rejected=rejected,
            quarantined=quarantined,
        )


def copy_samples(
    parents: Sequence[Dataset],
    folder: Path,
    contents: Contents,
    *,
    change: Callable[[int, Sample], Sample | None],
) -> None:
    """Write the samples of datasets anew, subset by subset, in the order of the datasets.

    Shards become as full as the fullest of theirs.

    Parameters
    ----------
    change:
        What becomes of a sample of the dataset of that number; None: it stays out. Bytes that it
        leaves alone are passed on as they are stored.

    Raises
    ------
    DataError
        When a dataset is damaged, or the folder cannot be written.
    """
    counts = [record.samples for parent in parents for record in parent.manifest.shards]

    def changed(subset: Subset) -> Iterator[Sample]:
        for number, parent in enumerate(parents):
            if subset in parent.subsets:
                for scene, files in parent.walk_shards(subset=subset):
                    sample = change(number, Sample(scene, files))
                    if sample is not None:
                        yield sample

    for subset in sorted({subset for parent in parents for subset in parent.subsets}):
        write_shards(
            folder,
            changed(subset),
            contents,
            subset=subset,
            scenes_per_shard=max(counts),
        )


def write_shards(
    folder: Path,
    samples: Iterable[Sample],
    contents: Contents,
    *,
    subset: Subset,
    scenes_per_shard: int,
) -> None:
    """Write samples of one subset in their order; one sample is in memory at a time.

    Raises
    ------
    DataError
        When the folder cannot be written, or what yields the samples raises it.
    """
    stream = iter(samples)
    for number, first in enumerate(stream):
        path = folder / shard_name(subset, number)
        scenes: list[Scene] = []
        spans = write_tar(
            path, _noting(chain([first], islice(stream, scenes_per_shard - 1)), scenes)
        )
        contents.shards.append(shard_record(path, samples=len(spans)))
        contents.rows += [
            scene_to_row(scene, shard=path.name, offset=span.offset, size=span.size)
            for scene, span in zip(scenes, spans, strict=True)
        ]


def seal(
    folder: Path,
    manifest: Manifest,
    contents: Contents,
    *,
    funnel: Sequence[FunnelRow],
    seconds: float,
) -> Manifest:
    """Write what stands beside the shards; the manifest gets counts and shards, and comes last."""
    manifest = prepare_seal(folder, manifest, contents, funnel=funnel, seconds=seconds)
    write_manifest(folder / MANIFEST_NAME, manifest)
    return manifest


def prepare_seal(
    folder: Path,
    manifest: Manifest,
    contents: Contents,
    *,
    funnel: Sequence[FunnelRow],
    seconds: float,
) -> Manifest:
    """As `seal`, all but writing the manifest: where several folders are finished together."""
    return write_side_files(
        folder,
        manifest.model_copy(update={"counts": contents.counts(), "shards": contents.shards}),
        rows=contents.rows,
        rejects=contents.rejects,
        quarantined=contents.quarantined,
        funnel=funnel,
        seconds=seconds,
        licence=licence_of(manifest.recipe),
    )


def merged_recipes(recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """The recipes of the builds behind a manifest's recipe: several where datasets were merged."""
    merged = recipe.get("merged")
    if not isinstance(merged, list):
        return [recipe]
    return [one for inner in merged for one in merged_recipes(inner)]


def licence_of(recipe: dict[str, Any]) -> str:
    """For the card: of all sources alike, else not imig's to know."""
    kinds = {str((one.get("source") or {}).get("kind")) for one in merged_recipes(recipe)}
    return CARD_LICENCES.get(kinds.pop(), "other") if len(kinds) == 1 else "other"


def recipe_sha256(recipe: dict[str, Any]) -> str:
    """As a build computes it; of what is no build's recipe, of its JSON."""
    try:
        return recipe_to_sha256(Recipe.model_validate(recipe))
    except ValidationError:
        text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _noting(samples: Iterable[Sample], scenes: list[Scene]) -> Iterable[Sample]:
    """The samples; their scenes are kept, their pictures are not."""
    for sample in samples:
        scenes.append(sample.scene)
        yield sample

"""Records, indices and shards of many scenes, made without a build."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.scale_parts.stages import picture, scene_of
from imig.output.record import Record, write_record
from imig.output.writing import Contents, write_shard
from imig.sample import Sample
from imig.schema import Manifest, Reject, ShardRecord
from imig.shards.index import (
    IndexedInstance,
    IndexedReference,
    IndexRow,
    scene_to_row,
    write_index,
)
from imig.shards.manifest import MANIFEST_NAME, file_sha256, write_manifest
from imig.shards.names import shard_name

PER_SHARD = 1000
ROW_BYTES = 110_592
"""Of a scene in its shard, where only the index is real: a picture of 1024 x 1024 and views."""


def write_records(folder: Path, *, scenes: int) -> int:
    """A record a shard, as a build leaves them: every fifth scene turned down. Gives how many."""
    folder.mkdir(parents=True)
    shards = scenes // PER_SHARD
    for shard in range(shards):
        numbers = range(shard * PER_SHARD, (shard + 1) * PER_SHARD)
        rows = [row_of(n, place) for place, n in enumerate(one for one in numbers if one % 5)]
        rejects = [
            Reject(id=f"basic-{n:08d}", stage="filter", reason="similarity", figures={"dino": 0.3})
            for n in numbers
            if n % 5 == 0
        ]
        write_record(
            folder / f"{shard:06d}.json",
            Record(input=PER_SHARD, rows=rows, rejects=rejects, shard=_shard(shard, len(rows))),
        )
    return shards


def row_of(number: int, place: int) -> IndexRow:
    """A row as rich as those of real scenes: scores, three instances with a reference each."""
    chance = random.Random(number)
    row = scene_to_row(
        scene_of(number),
        shard=shard_name("basic", number // PER_SHARD),
        offset=place * ROW_BYTES,
        size=ROW_BYTES,
    )
    scores = {
        name: f"{chance.getrandbits(64):016x}" if name == "perceptual_hash" else chance.random()
        for name in row.scores
    }
    boxes = [[chance.randrange(500) for _ in range(4)] for _ in range(6)]
    instances = [
        IndexedInstance(
            box=boxes[one],
            area=chance.randrange(9**6),
            face=False,
            references=[IndexedReference("crop", 300, 400, boxes[one + 3], aligned=False)],
        )
        for one in range(3)
    ]
    phrases = ["a wooden chair", "a blue vase", f"object {number}"]
    changed = {"scores": scores, "instance_records": instances, "phrases": phrases}
    return IndexRow(**{**vars(row), **changed, "instances": 3, "references": 3})


def write_indexed_folder(folder: Path, *, scenes: int) -> None:
    """A dataset's manifest and index; its shards are not there."""
    folder.mkdir(parents=True)
    shards = [_shard(one, PER_SHARD) for one in range(scenes // PER_SHARD)]
    rows = (row_of(number, number % PER_SHARD) for number in range(scenes))
    write_index(folder / "index.parquet", rows)
    _write_manifest(folder, shards)


def write_whole_folder(folder: Path, *, scenes: int) -> None:
    """A dataset whose shards are there; a scene is a small picture and its JSON, 3 KB."""
    folder.mkdir(parents=True)
    contents = Contents()
    for shard in range(scenes // PER_SHARD):
        path = folder / shard_name("basic", shard)
        contents.add(write_shard(path, _samples(shard)))
    write_index(folder / "index.parquet", contents.rows)
    _write_manifest(folder, contents.shards)


def _samples(shard: int) -> Iterator[Sample]:
    for number in range(shard * PER_SHARD, (shard + 1) * PER_SHARD):
        sample = Sample(scene_of(number))
        sample.files["target.jpg"] = picture(0)
        yield sample


def _shard(number: int, samples: int) -> ShardRecord:
    name = shard_name("basic", number)
    return ShardRecord(name=name, samples=samples, bytes=ROW_BYTES * PER_SHARD, sha256="0" * 64)


def _write_manifest(folder: Path, shards: list[ShardRecord]) -> None:
    count = sum(one.samples for one in shards)
    values = {"input": count, "written": count, "rejected": 0, "quarantined": 0}
    manifest = Manifest.model_validate(
        {
            "name": "scale",
            "recipe": {},
            "recipe_sha256": "0" * 64,
            "models": [],
            "packages": {},
            "counts": values,
            "shards": shards,
            "index_sha256": file_sha256(folder / "index.parquet"),
        }
    )
    write_manifest(folder / MANIFEST_NAME, manifest)

"""Finished datasets, read from the first sample to the last."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from imig.errors import VALIDATE, DataError, UsageError
from imig.regular_file import read_regular_file
from imig.sample import Sample
from imig.schema import (
    SCHEMA_VERSION,
    Manifest,
    ParentDataset,
    Quarantine,
    Reject,
    Scene,
    Subset,
    first_problem,
    scene_from_json,
)
from imig.shards.funnel import REPORT_JSON, FunnelRow, read_funnel
from imig.shards.index import INDEX_NAME, read_index_table
from imig.shards.manifest import MANIFEST_NAME, manifest_from_json
from imig.shards.places import check_places, require_values
from imig.shards.tables import read_quarantine, read_rejects
from imig.shards.writer import JSON_MEMBER, read_tar, require_members

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Parent:
    """A finished dataset on this machine."""

    folder: Path
    manifest: Manifest
    sha256: str
    """Of its dataset.json."""

    def record(self) -> ParentDataset:
        return ParentDataset(name=self.manifest.name, manifest_sha256=self.sha256)

    def rejects(self) -> list[Reject]:
        """Raises DataError when they are damaged, or not as many as the manifest counts."""
        return read_rejects(self.folder, counted=self.manifest.counts.rejected)

    def quarantined(self) -> list[Quarantine]:
        """Raises as `rejects` does."""
        return read_quarantine(self.folder, counted=self.manifest.counts.quarantined)

    def samples(self, *, subset: Subset | None = None) -> Iterator[Sample]:
        """All samples, or those of a subset, in the order of the shards; one in memory at a time.

        Raises
        ------
        DataError
            When a shard is damaged or not the one of the manifest.
        """
        for scene, files in self.members(subset=subset):
            files.pop(JSON_MEMBER)
            yield Sample(scene, files)

    def members(
        self, *, only: Collection[str] | None = None, subset: Subset | None = None
    ) -> Iterator[tuple[Scene, dict[str, bytes]]]:
        """As `samples`: the scene, and the members that `only` names; the JSON must be of them."""
        wanted = None if subset is None else self._shards_of(subset)
        for record in self.manifest.shards:
            if wanted is not None and record.name not in wanted:
                continue
            path, count = self.folder / record.name, 0
            for span, files in read_tar(path, only=only):
                scene = _read_scene(path, span.id, files)
                place = _place(path, span.id)
                if only is None:
                    require_members(scene, files, place=place)
                if (indexed := self._subset_of.get(scene.id)) != scene.subset:
                    raise DataError(
                        f"{place} is of the subset {scene.subset}, {INDEX_NAME} says {indexed}",
                        cure=VALIDATE,
                    )
                count += 1
                if subset is None or scene.subset == subset:
                    yield scene, files
            if count != record.samples:
                raise DataError(
                    f"{path} has {count} samples, {MANIFEST_NAME} says {record.samples}",
                    cure=VALIDATE,
                )

    def place_of(self, sample_id: str) -> str:
        """A sample and its shard, for messages."""
        return _place(self.folder / self._shard_of.get(sample_id, ""), sample_id)

    def subsets(self) -> list[Subset]:
        """Those of which there are samples, sorted."""
        return sorted(set(self._column("subset")))

    def ids(self) -> list[str]:
        """Of the samples, in the order of the index."""
        return self._column("id")

    def scenes_per_shard(self) -> int:
        """What the new dataset's shards should hold: as many as the fullest of these, at most."""
        return max((record.samples for record in self.manifest.shards), default=1000)

    def funnel(self) -> list[FunnelRow]:
        """Of its report; empty where there is none that can be read."""
        try:
            return read_funnel(self.folder / REPORT_JSON)
        except (OSError, DataError):
            return []

    def _shards_of(self, subset: Subset) -> set[str]:
        shards, subsets = self._column("shard"), self._column("subset")
        return {shard for shard, one in zip(shards, subsets, strict=True) if one == subset}

    def _column(self, name: str) -> list[Any]:
        values: list[Any] = self._index[name].to_pylist()
        return values

    @cached_property
    def _subset_of(self) -> dict[str, str]:
        return dict(zip(self._column("id"), self._column("subset"), strict=True))

    @cached_property
    def _shard_of(self) -> dict[str, str]:
        return dict(zip(self._column("id"), self._column("shard"), strict=True))

    @cached_property
    def _index(self) -> pa.Table:
        """The columns that a new dataset is planned with."""
        path = self.folder / INDEX_NAME
        samples = sum(record.samples for record in self.manifest.shards)
        columns = ("id", "subset", "shard", "offset", "size")
        table = read_index_table(path, columns=columns, samples=samples)
        check_places(table, self.manifest.shards, index=str(path))
        require_values(table, "subset", index=str(path))
        return table


def open_parent(folder: Path) -> Parent:
    """A finished dataset folder.

    Raises
    ------
    UsageError
        When it does not exist, is not a dataset, or was written by a newer imig.
    DataError
        When its manifest is damaged.
    """
    path = folder / MANIFEST_NAME
    if not folder.is_dir():
        raise UsageError(
            f"there is no dataset folder {folder}",
            cure="`make build-dataset` or `imig build demo` makes one.",
        )
    if not path.is_file():
        raise UsageError(
            f"{folder} is not a dataset: it has no {MANIFEST_NAME}",
            cure="A build writes it last; run the same `imig build` again to finish it.",
        )
    try:
        data = read_regular_file(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    _refuse_newer(folder, data)
    return Parent(folder, manifest_from_json(data, place=str(path)), sha256(data).hexdigest())


def _refuse_newer(folder: Path, data: bytes) -> None:
    try:
        version = json.loads(data).get("schema_version")
    except (ValueError, AttributeError, RecursionError):
        return  # what is wrong is said when the manifest is read
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UsageError(
            f"{folder / MANIFEST_NAME} has schema version {version}, this imig knows versions "
            f"up to {SCHEMA_VERSION}",
            cure="install the imig that wrote it, or a newer one",
        )


def _read_scene(path: Path, sample_id: str, files: dict[str, bytes]) -> Scene:
    place = _place(path, sample_id)
    try:
        scene = scene_from_json(files[JSON_MEMBER])
    except KeyError as error:
        raise DataError(f"{place} has no JSON member", cure=VALIDATE) from error
    except ValidationError as error:
        raise DataError(
            f"{place} does not obey the schema: {first_problem(error)}", cure=VALIDATE
        ) from error
    if scene.id != sample_id:
        raise DataError(f"{place} has the id {scene.id} in its JSON", cure=VALIDATE)
    return scene


def _place(path: Path, sample_id: str) -> str:
    """As `imig.Dataset` has it in its messages."""
    return f"sample {sample_id} in {path}"

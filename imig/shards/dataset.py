"""Read a dataset: by id, by position, or one scene after the other."""

from __future__ import annotations

import copy
import difflib
import hashlib
import tarfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from imig.errors import VALIDATE, DataError, UsageError
from imig.paths import input_path
from imig.schema import (
    Manifest,
    Quarantine,
    Reject,
    Scene,
    Subset,
    first_problem,
    scene_from_json,
)
from imig.shards.cache import ShardCache, cached_folder
from imig.shards.folders import Folder, open_folder
from imig.shards.funnel import REPORT_JSON, FunnelRow, funnel_from_json
from imig.shards.index import INDEX_NAME, index_schema, read_index_table
from imig.shards.manifest import MANIFEST_NAME, manifest_from_json, refuse_newer
from imig.shards.places import check_places, require_values
from imig.shards.tables import read_quarantine, read_rejects
from imig.shards.tar import (
    BLOCK,
    TarFault,
    member_data,
    padded,
    parse_header,
    split_member,
    walk_tar,
)
from imig.shards.views import SceneView
from imig.shards.writer import JSON_MEMBER, read_tar, require_members
from imig.stores.path import OutputPath

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

REMOVAL: Final = ".build/remove.json"
"""Below the folder while `imig remove` puts new files into place."""
_HEAD = 16384  # bytes; a scene's JSON and the headers before it seldom need more
_REQUESTS = 32  # that are under way at once where the dataset is remote


class Dataset:
    """A finished dataset folder, on this machine or behind an address that fsspec knows.

    ``dataset["basic-00000042"]`` and ``dataset[3]`` read one scene by seeking to it; iteration
    reads the shards from front to back. Scenes decode lazily (`imig.shards.views`). Whoever makes
    other files of a dataset takes the stored bytes, by `walk_shards`. An instance can be pickled
    and used from several threads or processes at once: it keeps no file open.

    Raises
    ------
    UsageError
        When the folder does not exist, is not a dataset, or was written by a newer imig.
    DataError
        When the manifest or the index is damaged, or the store does not answer.
    """

    def __init__(self, path: str | OutputPath) -> None:
        self.folder: Folder = open_folder(path)
        self.path: str | Path = str(path) if self.folder.remote else input_path(str(path))
        if not self.folder.exists():
            raise UsageError(
                f"there is no dataset folder {self.path}",
                cure="`make build-dataset` or `imig build demo` makes one.",
            )
        data = self.folder.find(MANIFEST_NAME)
        if data is None:
            raise UsageError(
                f"{self.path} is not a dataset: it has no {MANIFEST_NAME}", cure=self._why_not()
            )
        self.fingerprint = hashlib.sha256(data).hexdigest()
        """Hex SHA-256 of the manifest, which has those of all else."""
        refuse_newer(data, place=self.folder.place(MANIFEST_NAME))
        self.manifest: Manifest = manifest_from_json(data, place=self.folder.place(MANIFEST_NAME))
        table = self.read_columns("id", "shard", "offset", "size")
        check_places(table, self.manifest.shards, index=self.folder.place(INDEX_NAME))
        self.ids: list[str] = table["id"].to_pylist()
        self.shards: list[str] = table["shard"].to_pylist()
        """The shard of each sample."""
        self._offsets: list[int] = table["offset"].to_pylist()
        self._sizes: list[int] = table["size"].to_pylist()
        self._rows = {sample_id: row for row, sample_id in enumerate(self.ids)}

    def cached(self, cache: ShardCache) -> Dataset:
        """This dataset, its shards read from a cache of whole ones; a local one as it is.

        Raises UsageError where its largest shard is larger than the cache.
        """
        other = copy.copy(self)
        shards = {record.name: record for record in self.manifest.shards}
        other.folder = cached_folder(self.folder, cache, shards, place=str(self.path))
        return other

    def fingerprint_now(self) -> str:
        """As `fingerprint`, of the manifest that is there now; "" where there is none."""
        data = self.folder.find(MANIFEST_NAME)
        return "" if data is None else hashlib.sha256(data).hexdigest()

    def _why_not(self) -> str:
        """What a folder without a manifest may be."""
        if self.folder.has(REMOVAL):
            return (
                "Samples are being taken out; if nobody is at it, run the same `imig remove` again "
                "to finish it."
            )
        if self.folder.has(f"train/{MANIFEST_NAME}"):
            return f"It holds two: {self.folder.place('train')} and validation, beside it."
        if self.folder.remote:
            return "It is written last; where it is still being sent, the same command goes on."
        return "A build writes it last; run the same `imig build` again to finish it."

    @cached_property
    def index(self) -> pd.DataFrame:
        """One row a sample, in the order of iteration; columns as in `imig.shards.index`."""
        frame: pd.DataFrame = self.read_columns(*index_schema().names).to_pandas()
        return frame

    @cached_property
    def subsets(self) -> list[Subset]:
        """The subset of each sample. Raises DataError as `read_columns`, or when one is missing."""
        table = self.read_columns("id", "subset")
        require_values(table, "subset", index=self.folder.place(INDEX_NAME))
        subsets: list[Subset] = table["subset"].to_pylist()
        return subsets

    def read_columns(self, *names: str) -> pa.Table:
        """Some columns of the index, a row a sample, in the order of iteration.

        Raises
        ------
        DataError
            When the index is missing or damaged.
        """
        samples = sum(record.samples for record in self.manifest.shards)
        try:
            data = self.folder.read(INDEX_NAME)
        except DataError as error:
            raise DataError(error.message, cure=VALIDATE) from error
        return read_index_table(
            self.folder.place(INDEX_NAME), data=data, columns=names, samples=samples
        )

    def walk_shards(
        self, *, only: Collection[str] | None = None, subset: Subset | None = None
    ) -> Iterator[tuple[Scene, dict[str, bytes]]]:
        """Scenes and their stored bytes, along whole shards; one sample is in memory at a time.

        Unlike iteration, which goes where the index says and sees nothing else, this finds
        damage between samples and behind them, and samples that the index does not have.

        Parameters
        ----------
        only:
            The members that are wanted, for example ``{"target.jpg"}``; others are not read. None:
            all, and those that the scene names must be there. The JSON is never among them.
        subset:
            None for all.

        Raises
        ------
        DataError
            When a shard is damaged, or is not the one of the manifest and the index.
        """
        wanted = None if only is None else {JSON_MEMBER, *only}
        shards = {
            shard
            for shard, one in zip(self.shards, self.subsets, strict=True)
            if subset in (None, one)
        }
        for record in self.manifest.shards:
            if subset is not None and record.name not in shards:
                continue
            shard, count = self.folder.place(record.name), 0
            with self.folder.local_file(record.name, sha256=record.sha256) as path:
                for span, files in read_tar(path, only=wanted, place=shard):
                    place = f"sample {span.id} in {shard}"
                    scene = _to_scene(files.pop(JSON_MEMBER, None), sample_id=span.id, place=place)
                    if only is None:
                        require_members(scene, files, place=place)
                    self._require_indexed(scene, place=place)
                    count += 1
                    if subset in (None, scene.subset):
                        yield scene, files
            if count != record.samples:
                raise DataError(
                    f"{shard} has {count} samples, {MANIFEST_NAME} says {record.samples}",
                    cure=VALIDATE,
                )

    def _require_indexed(self, scene: Scene, *, place: str) -> None:
        row = self._rows.get(scene.id)
        indexed = None if row is None else self.subsets[row]
        if indexed != scene.subset:
            raise DataError(
                f"{place} is of the subset {scene.subset}, {INDEX_NAME} says {indexed}",
                cure=VALIDATE,
            )

    def rejects(self) -> list[Reject]:
        """Scenes that were turned down.

        Raises DataError when the table is damaged, or has not as many as the manifest counts.
        """
        return read_rejects(self.folder, counted=self.manifest.counts.rejected)

    def quarantined(self) -> list[Quarantine]:
        """Scenes that raised an error. Raises as `rejects` does."""
        return read_quarantine(self.folder, counted=self.manifest.counts.quarantined)

    def funnel(self) -> list[FunnelRow]:
        """What each stage did, of the report; empty where there is none that can be read."""
        try:
            data = self.folder.find(REPORT_JSON)
            return [] if data is None else funnel_from_json(data, place=REPORT_JSON)
        except DataError:
            return []

    def records(self) -> Iterator[Scene]:
        """The scenes in the order of iteration, without their pictures, which are not read."""
        if not self.folder.remote:
            yield from map(self._read_record, range(len(self)))
            return
        with ThreadPoolExecutor(_REQUESTS) as pool:
            yield from pool.map(self._read_record, range(len(self)))

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, sample_id: object) -> bool:
        return sample_id in self._rows

    def __getitem__(self, key: str | int) -> SceneView:
        row = self._row_of_id(key) if isinstance(key, str) else self._row_of_position(key)
        return self._read(row)

    def __iter__(self) -> Iterator[SceneView]:
        return map(self._read, range(len(self)))

    def __repr__(self) -> str:
        return f"Dataset({str(self.path)!r}): {len(self)} scenes in {len(set(self.shards))} shards"

    def _row_of_id(self, sample_id: str) -> int:
        if sample_id in self._rows:
            return self._rows[sample_id]
        nearest = difflib.get_close_matches(sample_id, self.ids, n=3, cutoff=0.0)
        raise UsageError(
            f"{self.path} has no sample {sample_id!r}",
            cure=f"The nearest ids are {', '.join(nearest)}." if nearest else "It is empty.",
        )

    def _row_of_position(self, position: int) -> int:
        # IndexError, not an error of ours: Python's own sequence protocol relies on it.
        return range(len(self.ids))[position]

    def place_of(self, sample_id: str) -> str:
        """A sample and its shard, for messages. Raises UsageError when there is no such sample."""
        return self._place(self._row_of_id(sample_id))

    def _place(self, row: int) -> str:
        return f"sample {self.ids[row]} in {self.folder.place(self.shards[row])}"

    def _read_range(self, row: int, offset: int, size: int) -> bytes:
        """Bytes of the sample's shard; DataError where it ends before."""
        try:
            data = self.folder.read_range(self.shards[row], offset, size)
        except DataError as error:
            raise type(error)(error.message, cure=error.cure or VALIDATE) from error
        if len(data) < size:
            raise DataError(f"{self._place(row)} is cut off: the shard is truncated", cure=VALIDATE)
        return data

    def _read(self, row: int) -> SceneView:
        sample_id, place = self.ids[row], self._place(row)
        files = self._read_files(row)
        record = _to_scene(files.pop(JSON_MEMBER, None), sample_id=sample_id, place=place)
        require_members(record, files, place=place)
        return SceneView(record, files, place=place)

    def read_files(self, sample_id: str) -> dict[str, bytes]:
        """All stored bytes of a sample by member name, its JSON among them, none of it parsed.

        Raises
        ------
        UsageError
            When there is no such sample.
        DataError
            When the shard is damaged there.
        """
        return self._read_files(self._row_of_id(sample_id))

    def parse_scene(self, sample_id: str, data: bytes | None) -> Scene:
        """The scene in a JSON member that was read before (None: there was none).

        Raises DataError, which names the sample, when it does not obey the schema.
        """
        return _to_scene(data, sample_id=sample_id, place=self.place_of(sample_id))

    def _read_files(self, row: int) -> dict[str, bytes]:
        sample_id, offset, place = self.ids[row], self._offsets[row], self._place(row)
        region = self._read_range(row, offset, self._sizes[row])
        files: dict[str, bytes] = {}
        for item in walk_tar(region, whole=False):
            if isinstance(item, TarFault):
                raise DataError(
                    f"{place} is damaged at byte {offset + item.offset}: {item.message}",
                    cure=VALIDATE,
                )
            key, member = split_member(item.name)
            if key != sample_id:
                raise DataError(f"{place} is not where the index says", cure=VALIDATE)
            if not item.plain:
                raise self._no_plain_file(row, member)
            if member in files:
                raise DataError(f"{place} has a member {member} twice", cure=VALIDATE)
            files[member] = member_data(region, item)
        return files

    def read_member(self, sample_id: str, member: str) -> bytes:
        """One member of a sample, for example ``encoded.safetensors``; reads no other.

        Raises
        ------
        UsageError
            When there is no such sample.
        DataError
            When the sample has no such member, or the shard is damaged before it.
        """
        return self._read_member(self._row_of_id(sample_id), member)

    def _read_record(self, row: int) -> Scene:
        """A sample's scene, without its pictures."""
        data = self._read_member(row, JSON_MEMBER)
        return _to_scene(data, sample_id=self.ids[row], place=self._place(row))

    def _read_member(self, row: int, member: str) -> bytes:
        """Of the members that come before, only the headers are read."""
        start, end = self._offsets[row], self._offsets[row] + self._sizes[row]
        head, head_at, position = b"", start, start
        while position < end:
            if not head_at <= position <= head_at + len(head) - BLOCK:
                head_at = position
                head = self._read_range(row, position, min(_HEAD, end - position))
            block = head[position - head_at : position - head_at + BLOCK]
            try:
                header = parse_header(block)
            except tarfile.HeaderError as error:
                raise DataError(
                    f"{self._place(row)} is damaged at byte {position}: {error}", cure=VALIDATE
                ) from error
            if position + BLOCK + padded(header.size) > end:
                raise DataError(
                    f"{self._place(row)} is damaged at byte {position}: {header.name} of "
                    f"{header.size} bytes reaches beyond the sample",
                    cure=VALIDATE,
                )
            if header.name == f"{self.ids[row]}.{member}":
                if not header.plain:
                    raise self._no_plain_file(row, member)
                data = head[position - head_at + BLOCK :][: header.size]
                if len(data) < header.size:
                    data = self._read_range(row, position + BLOCK, header.size)
                return data
            position += BLOCK + padded(header.size)
        raise DataError(f"{self._place(row)} has no member {member}", cure=VALIDATE)

    def _no_plain_file(self, row: int, member: str) -> DataError:
        return DataError(
            f"{self._place(row)} has a member {member} that is no plain file", cure=VALIDATE
        )


def _to_scene(data: bytes | None, *, sample_id: str, place: str) -> Scene:
    """The scene in a sample's JSON member; None: it has none."""
    if data is None:
        raise DataError(f"{place} has no JSON member", cure=VALIDATE)
    try:
        scene = scene_from_json(data)
    except ValidationError as error:
        raise DataError(
            f"{place} does not obey the schema: {first_problem(error)}", cure=VALIDATE
        ) from error
    if scene.id != sample_id:
        raise DataError(f"{place} has the id {scene.id} in its JSON", cure=VALIDATE)
    return scene

"""Read a dataset: by id, by position, or one scene after the other."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pydantic import ValidationError

from imig.errors import DataError, UsageError
from imig.schema import Manifest, scene_from_json
from imig.shards.index import INDEX_NAME, read_index_table
from imig.shards.manifest import MANIFEST_NAME, read_manifest
from imig.shards.tar import TarFault, member_data, split_member, walk_tar
from imig.shards.views import SceneView
from imig.shards.writer import JSON_MEMBER

if TYPE_CHECKING:
    import pandas as pd

_CHECK = "`imig validate` lists everything that is damaged."


class Dataset:
    """A finished dataset folder.

    ``dataset["basic-00000042"]`` and ``dataset[3]`` read one scene by seeking to it; iteration
    reads the shards from front to back. Scenes decode lazily (`imig.shards.views`). An instance
    can be pickled and used from several threads or processes at once: it keeps no file open.

    Raises
    ------
    UsageError
        When the folder does not exist or is not a dataset.
    DataError
        When the manifest or the index is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        if not self.path.is_dir():
            raise UsageError(
                f"there is no dataset folder {self.path}",
                cure="`make build-dataset` or `imig build demo` makes one.",
            )
        if not (self.path / MANIFEST_NAME).is_file():
            raise UsageError(
                f"{self.path} is not a dataset: it has no {MANIFEST_NAME}",
                cure="A build writes it last; run the same `imig build` again to finish it.",
            )
        self.manifest: Manifest = read_manifest(self.path / MANIFEST_NAME)
        table = read_index_table(self.path / INDEX_NAME)
        self.ids: list[str] = table["id"].to_pylist()
        self._shards: list[str] = table["shard"].to_pylist()
        self._offsets: list[int] = table["offset"].to_pylist()
        self._sizes: list[int] = table["size"].to_pylist()
        self._rows = {sample_id: row for row, sample_id in enumerate(self.ids)}

    @cached_property
    def index(self) -> pd.DataFrame:
        """One row a sample, in the order of iteration; columns as in `imig.shards.index`."""
        from imig.shards.index import read_index

        return read_index(self.path / INDEX_NAME)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, sample_id: object) -> bool:
        return sample_id in self._rows

    def __getitem__(self, key: str | int) -> SceneView:
        row = self._row_of_id(key) if isinstance(key, str) else self._row_of_position(key)
        with self._open_shard(self._shards[row]) as file:
            return self._read(file, row)

    def __iter__(self) -> Iterator[SceneView]:
        start = 0
        while start < len(self):
            shard = self._shards[start]
            with self._open_shard(shard) as file:
                while start < len(self) and self._shards[start] == shard:
                    yield self._read(file, start)
                    start += 1

    def __repr__(self) -> str:
        return f"Dataset({str(self.path)!r}): {len(self)} scenes in {len(set(self._shards))} shards"

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

    def _open_shard(self, shard: str) -> BinaryIO:
        try:
            return (self.path / shard).open("rb")
        except OSError as error:
            raise DataError(
                f"cannot read shard {self.path / shard}: {error.strerror}", cure=_CHECK
            ) from error

    def _read(self, file: BinaryIO, row: int) -> SceneView:
        sample_id, offset, size = self.ids[row], self._offsets[row], self._sizes[row]
        place = f"sample {sample_id} in {self.path / self._shards[row]}"
        file.seek(offset)
        region = file.read(size)
        if len(region) < size:
            raise DataError(f"{place} is cut off: the shard is truncated", cure=_CHECK)
        files = {}
        for item in walk_tar(region, whole=False):
            if isinstance(item, TarFault):
                raise DataError(
                    f"{place} is damaged at byte {offset + item.offset}: {item.message}",
                    cure=_CHECK,
                )
            key, member = split_member(item.name)
            if key != sample_id:
                raise DataError(f"{place} is not where the index says", cure=_CHECK)
            files[member] = member_data(region, item)
        try:
            record = scene_from_json(files.pop(JSON_MEMBER))
        except KeyError:
            raise DataError(f"{place} has no JSON member", cure=_CHECK) from None
        except ValidationError as error:
            raise DataError(f"{place} does not obey the schema: {error}", cure=_CHECK) from error
        return SceneView(record, files, place=place)

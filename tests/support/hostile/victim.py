"""A copy of a good dataset under edit, and how it is made to agree with itself again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from imig.shards.croissant import CROISSANT_NAME
from imig.shards.index import INDEX_NAME
from imig.shards.manifest import MANIFEST_NAME

SHARD: Final = "basic-000000.tar"
SAMPLE: Final = "basic-00000001"
"""The second of three in the first of two shards."""
OTHER: Final = "basic-00000000"
CANARY: Final = "canary.txt"
"""Lies beside the dataset; nobody may write there."""

Row = dict[str, Any]
Json = dict[str, Any]
_END: Final = bytes(2 * tarfile.BLOCKSIZE)


class Victim:
    """Members of `SHARD` as pairs of name and bytes; rows of the index; the manifest as JSON.

    A fault edits them, or says `raw` for the bytes of the whole shard, and `placed` for those that
    the index is made of where they are others. `seal` writes what was edited; then `loose` files
    can be damaged at will.
    """

    def __init__(self, good: Path, root: Path) -> None:
        self.root = root
        self.folder = root / "dataset"
        root.mkdir(parents=True)
        (root / CANARY).write_text("untouched\n")
        shutil.copytree(good, self.folder, symlinks=True)
        self.shard = self.folder / SHARD
        self.manifest: Json = json.loads((self.folder / MANIFEST_NAME).read_bytes())
        self.raw: bytes | None = None
        self.placed: bytes | None = None
        self.edit_rows: Callable[[list[Row]], Sequence[Row]] = lambda rows: rows
        self.afterwards: list[Callable[[], object]] = []
        with tarfile.open(self.shard) as tar:
            self.members = [(one.name, _data(tar, one)) for one in tar]

    # Members of the sample

    def get(self, member: str, *, sample: str = SAMPLE) -> bytes:
        return dict(self.members)[f"{sample}.{member}"]

    def put(self, member: str, data: bytes) -> None:
        """Replace a member, or add one in its place among the sample's."""
        name = f"{SAMPLE}.{member}"
        kept = [pair for pair in self.members if pair[0] != name]
        self.members = sorted([*kept, (name, data)])

    def drop(self, member: str) -> None:
        self.members = [pair for pair in self.members if pair[0] != f"{SAMPLE}.{member}"]

    def scene(self) -> Json:
        scene: Json = json.loads(self.get("json"))
        return scene

    def edit_scene(self, edit: Callable[[Json], object]) -> None:
        """Change the sample's JSON, whatever the schema says of it."""
        scene = self.scene()
        edit(scene)
        text = json.dumps(scene, indent=1, ensure_ascii=False)
        self.put("json", text.encode("utf-8", "surrogatepass"))

    # The whole shard

    def tar(self) -> bytes:
        """The shard's bytes as they are now."""
        return b"".join([*(member_bytes(*pair) for pair in self.members), _END])

    def insert(self, data: bytes, *, before: str | None = None) -> None:
        """Put raw bytes before a member of the sample; None: before its first one."""
        names = [name for name, _ in self.members]
        mine = [name for name in names if name.startswith(SAMPLE)]
        at = names.index(mine[0] if before is None else f"{SAMPLE}.{before}")
        head, tail = self.members[:at], self.members[at:]
        self.raw = b"".join(
            [*(member_bytes(*one) for one in head), data, *(member_bytes(*one) for one in tail)]
        )
        self.raw += _END

    # The index, the manifest, files

    def edit_row(self, **new: Any) -> None:
        """Change columns of the sample's row."""
        self.edit_rows = lambda rows: [row | new if row["id"] == SAMPLE else row for row in rows]

    def loose(self, *changes: Callable[[], object]) -> None:
        """Do something to files once all of them agree; nothing is mended behind it."""
        self.afterwards += changes

    def replace(self, name: str, data: bytes) -> None:
        """Afterwards, other bytes under a file's name."""
        self.loose(lambda: (self.folder / name).write_bytes(data))

    def pipe(self, name: str) -> None:
        """Afterwards, a named pipe that nobody writes to."""
        path = self.folder / name
        self.loose(lambda: path.unlink(missing_ok=True), lambda: os.mkfifo(path))

    def link(self, name: str, target: str | Path) -> None:
        """Afterwards, a symbolic link."""
        path = self.folder / name
        self.loose(lambda: path.unlink(missing_ok=True), lambda: path.symlink_to(target))

    def make_folder(self, name: str) -> None:
        """Afterwards, a folder."""
        path = self.folder / name
        self.loose(path.unlink, path.mkdir)

    def write_index(self, table: pa.Table, **options: Any) -> None:
        pq.write_table(table, self.folder / INDEX_NAME, compression="zstd", **options)

    def read_index(self) -> pa.Table:
        return pq.read_table(self.folder / INDEX_NAME, partitioning=None)

    def seal(self) -> None:
        """Write shard, index and manifest, so that they agree as far as they were not edited."""
        data = self.tar() if self.raw is None else self.raw
        self.shard.write_bytes(data)
        self.write_index(self._placed(data))
        records = [one for one in self.manifest["shards"] if one["name"] == SHARD]
        for record in records:
            record |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        self.manifest["index_sha256"] = _sha256(self.folder / INDEX_NAME)
        # It lists the old checksums; a dataset may be without.
        (self.folder / CROISSANT_NAME).unlink(missing_ok=True)
        self.write_manifest()
        for change in self.afterwards:
            change()

    def write_manifest(self) -> None:
        text = json.dumps(self.manifest, indent=1, ensure_ascii=False)
        (self.folder / MANIFEST_NAME).write_bytes(text.encode("utf-8", "surrogatepass"))

    def seal_index(self) -> None:
        """Give the manifest the checksum of an index that was written otherwise."""
        self.manifest["index_sha256"] = _sha256(self.folder / INDEX_NAME)
        self.write_manifest()

    def _placed(self, data: bytes) -> pa.Table:
        table = self.read_index()
        rows = table.to_pylist()
        spans = spans_of(data if self.placed is None else self.placed)
        for row in rows:
            if row["shard"] == SHARD and row["id"] in spans:
                row["offset"], row["size"] = spans[row["id"]]
        return pa.Table.from_pylist(list(self.edit_rows(rows)), schema=table.schema)


def tar_header(
    name: str | bytes,
    size: int = 0,
    *,
    kind: bytes = tarfile.REGTYPE,
    link: str = "",
    size_field: bytes | None = None,
    **fields: bytes,
) -> bytes:
    """A header of 512 bytes with whatever in it; its checksum is right.

    `size_field` and `fields` (`mode`, `uid`, `mtime`, `magic`) replace what would stand there.
    """
    info = tarfile.TarInfo("x")
    info.size, info.type, info.linkname, info.mode = size, kind, link, 0o644
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    raw = name.encode() if isinstance(name, str) else name
    block[:100] = raw.ljust(100, b"\0")[:100]
    places = {"mode": 100, "uid": 108, "mtime": 136, "magic": 257}
    for field, value in fields.items():
        block[places[field] : places[field] + len(value)] = value
    if size_field is not None:
        block[124:136] = size_field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member_bytes(name: str | bytes, data: bytes, **header: Any) -> bytes:
    """A member as it lies in a tar: header, data, padding."""
    padding = bytes(-len(data) % tarfile.BLOCKSIZE)
    return tar_header(name, len(data), **header) + data + padding


def spans_of(data: bytes) -> dict[str, tuple[int, int]]:
    """Offset and size of every sample, as somebody sees them who walks along and is not careful."""
    spans: dict[str, tuple[int, int]] = {}
    position = 0
    while position + tarfile.BLOCKSIZE <= len(data):
        block = data[position : position + tarfile.BLOCKSIZE]
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            position += tarfile.BLOCKSIZE
            continue
        blocks = 1 + -(-max(info.size, 0) // tarfile.BLOCKSIZE)
        end = min(position + blocks * tarfile.BLOCKSIZE, len(data))
        key = info.name.partition(".")[0]
        start, size = spans.get(key, (position, 0))
        spans[key] = (start, max(size, end - start))
        position = end
    return spans


def _data(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    assert file is not None
    return file.read()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""A path in an object store: what outputs need of `pathlib`, and nothing else.

Objects have no folders: one is there when something lies below it. An object appears under its name
whole or not at all (one PUT, or a multipart upload that is completed last), so that nothing like a
temporary name and a rename is needed. No listing is kept: what another process has just finished is
seen.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, TypeAlias, TypeVar

from imig.errors import VALIDATE, DataError
from imig.regular_file import read_regular_file
from imig.stores.filesystem import open_filesystem, scheme_of
from imig.stores.patience import TransferError, code_of, patiently
from imig.stores.scratch import scratch_file

_Answer = TypeVar("_Answer")
_CHUNK: Final = 16 << 20
"""Bytes of a part of an upload: 10,000 of them, which is S3's limit, are 160 GB."""
_RANGE: Final = 1 << 20
"""Bytes of a request where headers are looked for."""
_AT_ONCE: Final = 4
"""Parts of an upload that are under way, and in memory, at once."""
_DAMAGED_TRIES: Final = 3
"""Downloads of a file whose bytes are not those of its checksum: the fault may be the network's."""


@dataclass(frozen=True, order=True)
class StorePath:
    """An address below a bucket, without a slash at its end. Pickles; keeps no connection."""

    address: str

    def __str__(self) -> str:
        return self.address

    def __truediv__(self, name: str) -> StorePath:
        return StorePath(f"{self.address}/{name}")

    @property
    def name(self) -> str:
        return PurePosixPath(self.address).name

    @property
    def stem(self) -> str:
        return PurePosixPath(self.address).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.address).suffix

    @property
    def parent(self) -> StorePath:
        return StorePath(self.address.rpartition("/")[0])

    def is_within(self, folder: StorePath) -> bool:
        """Whether it is that folder or lies below it."""
        return f"{self.address}/".startswith(f"{folder.address}/")

    def size(self) -> int | None:
        """Bytes of the object; None where there is none. Raises as `patiently`."""
        try:
            info = self.ask(lambda store: store.info(self.address))
        except FileNotFoundError:
            return None
        return None if info["type"] == "directory" else int(info["size"])

    def version(self) -> tuple[int, str]:
        """Bytes, and what changes whenever somebody writes the object anew.

        Raises FileNotFoundError where there is none, else as `patiently`.
        """
        info = self.ask(lambda store: store.info(self.address))
        if info["type"] == "directory":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.address)
        marks = (info.get(key) for key in ("ETag", "etag", "LastModified", "created"))
        return int(info["size"]), str(next((one for one in marks if one is not None), ""))

    def open_ranges(self) -> BinaryIO:
        """The object as a file that seeks, read by ranges of a megabyte; raises as `version`."""
        return io.BufferedReader(_Ranges(self, self.version()[0]), _RANGE)

    def is_file(self) -> bool:
        """Whether there is such an object."""
        return self.size() is not None

    def is_dir(self) -> bool:
        """Whether something lies below it."""
        return any(True for _ in self.iterdir())

    def exists(self) -> bool:
        """Whether there is such an object, or something below it."""
        return self.is_file() or self.is_dir()

    def iterdir(self) -> Iterator[StorePath]:
        """What lies directly below it, sorted; folders among it."""
        return (self / name for name in sorted(self.sizes()))

    def sizes(self) -> dict[str, int | None]:
        """Names of what lies directly below, by one listing; bytes of objects, None of folders."""
        try:
            rows = self.ask(lambda store: store.ls(self.address, detail=True))
        except FileNotFoundError:
            return {}
        found: dict[str, int | None] = {}
        own = self.address.rpartition("://")[2]
        for row in rows:
            path = row["name"].rstrip("/")
            # A bucket's browser makes folders as empty objects of the folder's own name.
            if path.lstrip("/") != own:
                found[path.rpartition("/")[2]] = None if row["type"] == "directory" else row["size"]
        return found

    def glob(self, pattern: str) -> Iterator[StorePath]:
        """What lies directly below and fits the pattern, sorted; at most one slash in it."""
        first, slash, rest = pattern.partition("/")
        for name, size in sorted(self.sizes().items()):
            if fnmatch.fnmatchcase(name, first):
                if not slash:
                    yield self / name
                elif size is None:
                    yield from (self / name).glob(rest)

    def read_bytes(self) -> bytes:
        """A whole object. Raises FileNotFoundError where there is none, else as `patiently`."""
        data: bytes = self.ask(lambda store: store.cat_file(self.address))
        return data

    def read_range(self, offset: int, size: int) -> bytes:
        """Bytes from `offset` on, fewer than `size` where the object ends; errors as above."""
        data: bytes = self.ask(
            lambda store: store.cat_file(self.address, start=offset, end=offset + size)
        )
        return data

    def write_bytes(self, data: bytes) -> None:
        """Write an object, whole, in the place of what was there."""
        _require_held(self)
        self.ask(lambda store: store.pipe_file(self.address, data))

    def upload(self, file: Path) -> None:
        """Write an object of a local file, by parts where it is large; whole, or not at all."""
        _require_held(self)
        size = file.stat().st_size
        options: dict[str, Any] = {}
        if scheme_of(self.address) in ("s3", "s3a"):
            options = {"chunksize": _CHUNK, "max_concurrency": _AT_ONCE}
        elif scheme_of(self.address) in ("gs", "gcs"):
            options = {"chunksize": _CHUNK}

        def put(store: Any) -> None:
            try:
                store.put_file(str(file), self.address, **options)
            except FileNotFoundError as error:
                if code_of(error) != "NoSuchUpload":  # but no such bucket
                    raise
                raise TransferError("the store has forgotten the upload") from error
            self._require_size(store, size)

        self.ask(put)

    def download(self, file: Path, *, sha256: str | None = None) -> None:
        """Write the object to a local file.

        Parameters
        ----------
        sha256:
            Hex digest that its bytes must have; a download that has not is made again.

        Raises
        ------
        FileNotFoundError
            Where there is none.
        DataError
            When its bytes are not those, whenever they are read; else as `patiently`.
        """

        def get(store: Any) -> None:
            size = int(store.info(self.address)["size"])
            store.get_file(self.address, str(file))
            if (there := file.stat().st_size) != size:
                raise TransferError(f"{there} of {size} bytes have arrived")

        for _ in range(_DAMAGED_TRIES):
            self.ask(get)
            if sha256 is None:
                return
            with file.open("rb") as opened:
                found = hashlib.file_digest(opened, "sha256").hexdigest()
            if found == sha256:
                return
        raise DataError(
            f"{self} is damaged: its SHA-256 is not {sha256}, but {found}", cure=VALIDATE
        )

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Remove the object."""
        try:
            self.ask(lambda store: store.rm_file(self.address))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove_all(self) -> None:
        """Remove the object and everything below it."""

        def remove(store: Any) -> None:
            # The names are listed anew each time: a removal may have gone half the way.
            found = store.find(self.address)
            if found:
                store.rm([f"{scheme_of(self.address)}://{one.lstrip('/')}" for one in found])

        with suppress(FileNotFoundError):
            self.ask(remove)

    def abort_uploads(self) -> int:
        """End uploads below here that killed processes have begun: their parts cost money.

        Returns how many there were. S3 only: elsewhere they end by themselves.
        """
        if scheme_of(self.address) not in ("s3", "s3a"):
            return 0

        def abort(store: Any) -> int:
            bucket, prefix, _ = store.split_path(f"{self.address}/")
            there = store.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)
            uploads = there.get("Uploads", [])
            for one in uploads:
                with suppress(FileNotFoundError):
                    store.call_s3(
                        "abort_multipart_upload",
                        Bucket=bucket,
                        Key=one["Key"],
                        UploadId=one["UploadId"],
                    )
            return len(uploads)

        return self.ask(abort)

    def ask(self, call: Callable[[Any], _Answer]) -> _Answer:
        """What the filesystem answers. Raises as `patiently`."""
        return patiently(lambda: call(open_filesystem(self.address)), address=self.address)

    def _require_size(self, store: Any, size: int) -> None:
        there = int(store.info(self.address)["size"])
        if there != size:
            raise TransferError(f"{there} of {size} bytes have arrived")


class _Ranges(io.RawIOBase):
    """An object as a file that seeks; each read is one request."""

    def __init__(self, path: StorePath, size: int) -> None:
        self._path, self._size, self._at = path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self._size - self._at)
        if size <= 0:
            return 0
        data = self._path.read_range(self._at, size)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


OutputPath: TypeAlias = Path | StorePath
"""A path that outputs are written below: of this machine, or of a store."""

_guards: dict[StorePath, Callable[[], str | None]] = {}
"""Folders that this process holds -> what says why it holds one no more; None: it does."""


def size_of(path: OutputPath) -> int | None:
    """Bytes of a file; None where there is none."""
    if isinstance(path, StorePath):
        return path.size()
    return path.stat().st_size if path.is_file() else None


def sizes_in(folder: OutputPath) -> dict[str, int | None]:
    """Names directly in a folder; bytes of files, None of all else."""
    if isinstance(folder, StorePath):
        return folder.sizes()
    try:
        return {one.name: one.stat().st_size if one.is_file() else None for one in folder.iterdir()}
    except FileNotFoundError:
        return {}


def read_file(path: OutputPath) -> bytes:
    """A whole file. Raises OSError as `read_regular_file`; of a store also as `patiently`."""
    return path.read_bytes() if isinstance(path, StorePath) else read_regular_file(path)


def local_copy(path: OutputPath, *, sha256: str | None = None) -> AbstractContextManager[Path]:
    """A file on this machine while the block runs: itself, or a copy of a store's.

    `sha256` is what the bytes of a store's must have. Raises as `StorePath.download`.
    """
    return _downloaded(path, sha256) if isinstance(path, StorePath) else nullcontext(path)


@contextmanager
def local_target(path: OutputPath) -> Iterator[Path]:
    """A path of this machine to write a file to: itself, or one that is sent as the block ends.

    Nothing is sent where the block raises, or writes no such file.
    """
    if isinstance(path, Path):
        yield path
        return
    with scratch_file(path.name) as copy:
        yield copy
        if copy.exists():
            path.upload(copy)


@contextmanager
def local_folder(path: OutputPath) -> Iterator[Path]:
    """A folder of this machine to write files to: itself, or one whose files are sent at the end.

    They are sent in the order of their names; nothing where the block raises.
    """
    if isinstance(path, Path):
        yield path
        return
    with scratch_file(path.name) as folder:
        folder.mkdir()
        yield folder
        for file in sorted(one for one in folder.rglob("*") if one.is_file()):
            (path / file.relative_to(folder).as_posix()).upload(file)


@contextmanager
def _downloaded(path: StorePath, sha256: str | None) -> Iterator[Path]:
    with scratch_file(path.name) as copy:
        path.download(copy, sha256=sha256)
        yield copy


def guard(folder: StorePath, lost: Callable[[], str | None]) -> None:
    """From now on, ask whether the folder is still held before anything is written below."""
    _guards[folder] = lost


def unguard(folder: StorePath) -> None:
    """It is nobody's again."""
    _guards.pop(folder, None)


def _require_held(path: StorePath) -> None:
    for folder, lost in tuple(_guards.items()):
        if path.is_within(folder) and (why := lost()) is not None:
            raise DataError(
                f"{folder} is no longer held by this process: {why}",
                cure="what is finished is kept: run the same command again",
            )

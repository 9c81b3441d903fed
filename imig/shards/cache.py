"""Shards of remote datasets on a disk of this machine, as many as fit into a given size.

::

    FOLDER/<sha256>.tar             a whole shard, whose bytes had that SHA-256 when it came
    FOLDER/<sha256>.<bytes>.part    one that is coming; whoever fetches it holds its lock
    FOLDER/.lock                    held while room is made, and while a `.part` begins

Shards are known by their checksums, so that datasets, trainings and processes share one folder. A
process that is killed leaves a `.part` without a lock, which nobody reads and the next one removes.

A `.part` begins only once there is room for it: whoever waits for room holds none, so that of those
who wait, whatever they wait for, one can always go on.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from imig.errors import UnavailableError, UsageError
from imig.schema import ShardRecord
from imig.shards.folders import Folder, RemoteFolder
from imig.shards.manifest import file_sha256

_TRIES: Final = 2
"""Fetches of a shard whose checksum comes out wrong: bytes can be lost on the way."""
_LOOK_SECONDS: Final = 0.2
"""At most, between looks at a shard that another one fetches, or whose room others fetch into."""
_WAIT_SECONDS: Final = 3600.0
"""For others to fetch a shard or to leave room for it, before a reader gives up: whoever fetches
may have been stopped, or be a training that may use more of the folder and always does."""

_OURS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of the disk that is written to, not of the store that is read."""

Fetch = Callable[[Path], None]
"""Writes the whole shard into a file that is there, and empty."""


@dataclass(frozen=True)
class ShardCache:
    """Whole shards, of which the least recently used give way.

    Several processes and threads may use one folder at once. Whatever the order in which they are
    killed, no reader gets a byte of a shard that was not whole and right.
    """

    folder: Path
    """On a local disk; made when the first shard comes."""
    size: int
    """The most bytes that it holds; of several trainings each keeps to its own."""

    def require_room(self, shards: Mapping[str, ShardRecord], *, place: str) -> None:
        """Raise UsageError where a dataset's largest shard would not fit."""
        largest = max((one.bytes for one in shards.values()), default=0)
        if largest > self.size:
            raise UsageError(
                f"data.cache.size is {self.size:,} bytes, and the largest shard of {place} has "
                f"{largest:,}",
                cure=f"--set data.cache.size={20 * largest} holds 20 of them, which is about what "
                "a training of one subset reads from at a time; of several it is 20 for each",
            )

    def holds(self, record: ShardRecord) -> bool:
        """Whether a shard is there."""
        return self._path(record).is_file()

    def open(self, record: ShardRecord, fetch: Fetch, *, place: str) -> BinaryIO:
        """The shard, to be read; fetched first where it is not there.

        An open file stays whole when the shard gives way to others.

        Raises
        ------
        UnavailableError
            It cannot be fetched, the folder cannot be written, what comes is another shard, or
            others fill the folder for an hour.
        """
        ends = time.monotonic() + _WAIT_SECONDS
        with self._naming():
            while True:
                file = self._open_whole(record) or self._fetch(record, fetch, place)
                if file is not None:
                    return file
                if time.monotonic() > ends:
                    raise UnavailableError(
                        f"{place} has not come into data.cache.folder {self.folder} in "
                        f"{_WAIT_SECONDS / 60:.0f} minutes: others fetch it, or fetch so much that "
                        f"its {record.bytes:,} bytes do not fit into data.cache.size "
                        f"({self.size:,} bytes)",
                        cure="end whatever hangs there, and choose a larger data.cache.size, or a "
                        "folder of its own; --resume goes on from the last checkpoint",
                    )
                # not all at once, or they get into each other's way again
                time.sleep(_LOOK_SECONDS * random.uniform(0.5, 1))

    def fetch_ahead(self, record: ShardRecord, fetch: Fetch, *, place: str) -> None:
        """Fetch a shard that will be wanted, if there is room and it is not there or on its way.

        Raises as `open` does.
        """
        with self._naming():
            if not self.holds(record):
                file = self._fetch(record, fetch, place)
                if file is not None:
                    file.close()

    def _open_whole(self, record: ShardRecord) -> BinaryIO | None:
        path = self._path(record)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        if os.fstat(file.fileno()).st_size != record.bytes:  # not what was put there
            file.close()
            path.unlink(missing_ok=True)
            return None
        with suppress(FileNotFoundError):
            os.utime(path)
        return file

    def _fetch(self, record: ShardRecord, fetch: Fetch, place: str) -> BinaryIO | None:
        """The shard, fetched by this thread; None where another does or has, or without room."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{record.sha256}.{record.bytes}.part"
        with ExitStack() as held:
            with _locked(self.folder / ".lock", keep=True):
                # in this order: what another has just finished is no part any more, but is there
                if not _remove_abandoned(part) or self.holds(record):
                    return None
                if not self._make_room(record.bytes):
                    return None
                held.enter_context(_locked(part))
            for _ in range(_TRIES):
                part.write_bytes(b"")
                try:
                    fetch(part)
                except UnavailableError as error:
                    if isinstance(error.__cause__, OSError) and error.__cause__.errno in _OURS:
                        raise error.__cause__ from error
                    raise
                found = file_sha256(part)
                if found == record.sha256:
                    file = part.open("rb")
                    os.fsync(file.fileno())
                    os.replace(part, self._path(record))
                    return file
        raise UnavailableError(
            f"{place} is not the shard of its dataset.json: its SHA-256 is {found}, and not "
            f"{record.sha256}",
            cure="has the dataset been written anew, or does a proxy change what it passes on? "
            "`imig validate` compares every checksum",
        )

    def _make_room(self, needed: int) -> bool:
        """Remove what was used least recently until so many bytes fit; whether they do.

        Whoever calls this holds the lock of the folder. Nothing is removed where it would not do.
        """
        coming = 0
        for part in self.folder.glob("*.part"):
            if not _remove_abandoned(part):
                coming += int(part.name.split(".")[1])
        if self.size - coming < needed:
            return False
        used: list[tuple[float, int, Path]] = []
        for path in self.folder.glob("*.tar"):
            with suppress(FileNotFoundError):
                state = path.stat()
                used.append((state.st_mtime, state.st_size, path))
        room = self.size - coming - sum(size for _, size, _ in used)
        for _, size, path in sorted(used):
            if room >= needed:
                break
            path.unlink(missing_ok=True)
            room += size
        return room >= needed

    def _path(self, record: ShardRecord) -> Path:
        return self.folder / f"{record.sha256}.tar"

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UnavailableError(
                f"cannot write into data.cache.folder {self.folder}: {error.strerror or error}",
                cure="make room there, choose a smaller data.cache.size, or another folder; "
                "--resume goes on from the last checkpoint",
            ) from error


@dataclass(frozen=True)
class CachedFolder:
    """A remote dataset's folder, whose shards are read from a cache."""

    inner: RemoteFolder
    cache: ShardCache
    shards: Mapping[str, ShardRecord]
    """By name: those of the manifest."""
    remote = True

    def exists(self) -> bool:
        return self.inner.exists()

    def has(self, name: str) -> bool:
        return self.inner.has(name)

    def find(self, name: str) -> bytes | None:
        return self.inner.find(name)

    def place(self, name: str) -> str:
        return self.inner.place(name)

    def read(self, name: str) -> bytes:
        return self.inner.read(name)

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        with self.cache.open(
            self.shards[name], lambda path: self.inner.fetch(name, path), place=self.place(name)
        ) as file:
            file.seek(offset)
            return file.read(size)

    def local_file(self, name: str, *, sha256: str | None = None) -> AbstractContextManager[Path]:
        return self.inner.local_file(name, sha256=sha256)

    def sizes(self) -> dict[str, int | None]:
        return self.inner.sizes()

    def fetch_ahead(self, name: str) -> None:
        """Have a shard come that will be wanted. Raises as `ShardCache.fetch_ahead`."""
        self.cache.fetch_ahead(
            self.shards[name], lambda path: self.inner.fetch(name, path), place=self.place(name)
        )


def cached_folder(
    folder: Folder, cache: ShardCache, shards: Mapping[str, ShardRecord], *, place: str
) -> Folder:
    """The folder with a cache before it; a local one as it is.

    Raises UsageError where the largest shard would not fit.
    """
    if not isinstance(folder, RemoteFolder):
        return folder
    cache.require_room(shards, place=place)
    return CachedFolder(folder, cache, shards)


@contextmanager
def _locked(path: Path, *, keep: bool = False) -> Iterator[None]:
    """Hold the lock of a file, which is made.

    Without `keep` the file is removed at the end, if it still has that name.
    """
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_named(file, path):
                continue  # removed between opening and locking it
            try:
                yield
            finally:
                if not keep and _is_named(file, path):
                    path.unlink(missing_ok=True)
            return


def _is_named(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove_abandoned(part: Path) -> bool:
    """Remove what a killed process has left; whether it is gone."""
    try:
        with part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_named(file, part):
                part.unlink(missing_ok=True)
            return True
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True

"""Where a dataset's files lie: a local folder, or a remote one that fsspec reaches.

A dataset needs little of its folder: whether a file is there, a whole small file, a range of bytes
of a large one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from imig.errors import DataError, ImigError, UnavailableError, UsageError
from imig.paths import input_path
from imig.regular_file import open_regular_file, read_regular_file
from imig.shards.hub_errors import explain_hub_error
from imig.stores.filesystem import open_filesystem
from imig.stores.path import OutputPath, StorePath, sizes_in
from imig.stores.patience import explain, patiently
from imig.stores.scratch import scratch_file

_HUB = "hf://"


class Folder(Protocol):
    """A folder with files directly in it. Pickles; keeps no file open."""

    remote: bool

    def exists(self) -> bool:
        """Whether there is such a folder, as far as one can tell (object stores have none)."""

    def has(self, name: str) -> bool:
        """Whether it has that file."""

    def find(self, name: str) -> bytes | None:
        """A whole file; None where there is none. Raises DataError when it cannot be read."""

    def place(self, name: str) -> str:
        """The file's path or address, for messages."""

    def read(self, name: str) -> bytes:
        """A whole file. Raises DataError when it cannot be read."""

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """Bytes from `offset` on, fewer than `size` where the file ends; errors as `read`'s."""

    def local_file(self, name: str, *, sha256: str | None = None) -> AbstractContextManager[Path]:
        """The file on this machine while the block runs, to be read from front to back.

        Of a remote one a copy is made, on the disk, which must have that SHA-256 where one is
        given. Raises DataError when it cannot be, or has another.
        """

    def sizes(self) -> dict[str, int | None]:
        """Names of what lies in it; bytes of files, None of folders. Raises DataError."""


def open_folder(path: str | OutputPath) -> Folder:
    """A local folder, or a remote one where the path is an address (``s3://bucket/shards``).

    Raises
    ------
    UsageError
        When the address is of a kind for which nothing is installed, or the hub (``hf://``) has no
        such dataset.
    DataError
        When nothing answers there.
    """
    if "://" not in str(path):
        return LocalFolder(input_path(str(path)))
    folder = RemoteFolder(str(path).rstrip("/"))
    try:
        folder.open_filesystem()
    except UsageError:
        raise
    except Exception as error:  # some kinds of stores are connected to right away
        raise _unreachable(str(path), error) from error
    return folder


@dataclass(frozen=True)
class LocalFolder:
    """A folder on this machine."""

    root: Path
    remote = False

    def exists(self) -> bool:
        return self.root.is_dir()

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def find(self, name: str) -> bytes | None:
        return self.read(name) if self.has(name) else None

    def place(self, name: str) -> str:
        return str(self.root / name)

    def read(self, name: str) -> bytes:
        try:
            return read_regular_file(self.root / name)
        except OSError as error:
            raise UnavailableError(f"cannot read {self.place(name)}: {error.strerror}") from error

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        try:
            with open_regular_file(self.root / name) as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise UnavailableError(f"cannot read {self.place(name)}: {error.strerror}") from error

    def local_file(self, name: str, *, sha256: str | None = None) -> AbstractContextManager[Path]:
        return nullcontext(self.root / name)

    def sizes(self) -> dict[str, int | None]:
        return sizes_in(self.root)


@dataclass(frozen=True)
class RemoteFolder:
    """A folder behind an address that fsspec knows; a range costs one request."""

    address: str
    remote = True

    def open_filesystem(self) -> Any:
        """The fsspec filesystem (untyped there). Cached by fsspec for each process."""
        return open_filesystem(self.address)

    @property
    def _on_hub(self) -> bool:
        return self.address.startswith(_HUB)

    @cached_property
    def _filesystem(self) -> Any:
        return self.open_filesystem()

    def __getstate__(self) -> dict[str, str]:
        # Connections stay in the process that made them.
        return {"address": self.address}

    def exists(self) -> bool:
        return True

    def has(self, name: str) -> bool:
        return bool(self._filesystem.isfile(self.place(name)))

    def find(self, name: str) -> bytes | None:
        # Not `has`, which in fsspec is False for a store that does not answer, too.
        try:
            data: bytes = self._ask(name)
        except (FileNotFoundError, IsADirectoryError) as error:
            if self._on_hub and error.__cause__ is not None:  # not the file, the repository
                raise _unreachable(self.address, error) from error
            return None
        except ImigError:
            raise
        except Exception as error:  # every kind of store has errors of its own
            raise _unreachable(self.place(name), error) from error
        return data

    def place(self, name: str) -> str:
        return f"{self.address}/{name}"

    def read(self, name: str) -> bytes:
        return self._cat(name)

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        return self._cat(name, start=offset, end=offset + size)

    @contextmanager
    def local_file(self, name: str, *, sha256: str | None = None) -> Iterator[Path]:
        with scratch_file(name) as copy:
            self.fetch(name, copy, sha256=sha256)
            yield copy

    def fetch(self, name: str, copy: Path, *, sha256: str | None = None) -> None:
        """Write a whole file to a path of this machine; errors as `read`'s."""
        try:
            if self._on_hub:
                self._filesystem.get_file(self.place(name), str(copy))
            else:
                StorePath(self.place(name)).download(copy, sha256=sha256)
        except ImigError:
            raise
        except Exception as error:  # every kind of store has errors of its own
            raise self._unreadable(name, error) from error

    def sizes(self) -> dict[str, int | None]:
        return StorePath(self.address).sizes()

    def _cat(self, name: str, **span: int) -> bytes:
        # The hub's files would read 5 MB ahead of a scene.
        options = {"cache_type": "none"} if self._on_hub and span else {}
        try:
            data: bytes = self._ask(name, **span, **options)
        except ImigError:
            raise
        except Exception as error:  # every kind of store has errors of its own
            if self._on_hub and not isinstance(error, FileNotFoundError):
                raise _unreachable(self.place(name), error) from error
            raise self._unreadable(name, error) from error
        return data

    def _ask(self, name: str, **options: Any) -> bytes:
        """Bytes of a file. The hub's client is patient itself, and says why it gave up."""
        place = self.place(name)
        if self._on_hub:
            data: bytes = self._filesystem.cat_file(place, **options)
            return data
        return patiently(lambda: bytes(self._filesystem.cat_file(place, **options)), address=place)

    def _unreadable(self, name: str, error: Exception) -> DataError:
        return UnavailableError(f"cannot read {self.place(name)}: {type(error).__name__}: {error}")


def location(folder: Folder) -> OutputPath:
    """Where a folder is, to be compared with an output."""
    if isinstance(folder, LocalFolder):
        return folder.root
    assert isinstance(folder, RemoteFolder)
    return StorePath(folder.address)


def _unreachable(place: str, error: Exception) -> ImigError:
    if place.startswith(_HUB):
        return explain_hub_error(error, place=place)
    return explain(error, address=place)

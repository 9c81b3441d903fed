"""Where a dataset's files lie: a local folder, or a remote one that fsspec reaches.

A dataset needs little of its folder: whether a file is there, a whole small file, a range of bytes
of a large one.
"""

from __future__ import annotations

import tempfile
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

_HUB = "hf://"
_REASON = 300
"""Characters of what a store says."""


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

    def local_file(self, name: str) -> AbstractContextManager[Path]:
        """The file on this machine while the block runs, to be read from front to back.

        Of a remote one a copy is made, on the disk. Raises DataError when it cannot be.
        """


def open_folder(path: str | Path) -> Folder:
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
        return LocalFolder(input_path(path))
    folder = RemoteFolder(str(path).rstrip("/"))
    try:
        folder.open_filesystem()
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"cannot open {path}: {error}",
            cure="fsspec reaches http(s) with aiohttp, s3 with s3fs, gs with gcsfs installed.",
        ) from error
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

    def local_file(self, name: str) -> AbstractContextManager[Path]:
        return nullcontext(self.root / name)


@dataclass(frozen=True)
class RemoteFolder:
    """A folder behind an address that fsspec knows; a range costs one request."""

    address: str
    remote = True

    def open_filesystem(self) -> Any:
        """The fsspec filesystem (untyped there). Cached by fsspec for each process."""
        import fsspec

        filesystem, _ = fsspec.core.url_to_fs(self.address)
        return filesystem

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
            data: bytes = self._filesystem.cat_file(self.place(name))
        except (FileNotFoundError, IsADirectoryError) as error:
            if self._on_hub and error.__cause__ is not None:  # not the file, the repository
                raise _unreachable(self.address, error) from error
            return None
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
    def local_file(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="imig-") as folder:
            copy = Path(folder, name)
            self.fetch(name, copy)
            yield copy

    def fetch(self, name: str, copy: Path) -> None:
        """Write a whole file to a path of this machine; errors as `read`'s."""
        try:
            self._filesystem.get_file(self.place(name), str(copy))
        except Exception as error:  # every kind of store has errors of its own
            raise self._unreadable(name, error) from error

    def _cat(self, name: str, **span: int) -> bytes:
        # The hub's files would read 5 MB ahead of a scene.
        options = {"cache_type": "none"} if self._on_hub and span else {}
        try:
            data: bytes = self._filesystem.cat_file(self.place(name), **span, **options)
        except Exception as error:  # every kind of store has errors of its own
            if self._on_hub and not isinstance(error, FileNotFoundError):
                raise _unreachable(self.place(name), error) from error
            raise self._unreadable(name, error) from error
        return data

    def _unreadable(self, name: str, error: Exception) -> DataError:
        return UnavailableError(f"cannot read {self.place(name)}: {type(error).__name__}: {error}")


def _unreachable(place: str, error: Exception) -> ImigError:
    if place.startswith(_HUB):
        return explain_hub_error(error, place=place)
    reason = str(error) or type(error).__name__
    return UnavailableError(
        f"cannot reach {place}: {reason[:_REASON]}",
        cure="is the store up, the address right, and may you read there? Keys and proxies come "
        "from the environment of this process",
    )

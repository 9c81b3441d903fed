"""What lies in a tar that somebody else made: each member's place, links followed, damage found.

Nothing is unpacked, and only headers are read, once. A link leads to another member of the same
tar, or nowhere: a name never reaches the disk, so absolute names and ``..`` are names like others.
"""

from __future__ import annotations

import errno
import os
import posixpath
import tarfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

from imig.errors import ImigError
from imig.regular_file import open_regular_file
from imig.stages.sources.archive_paths import explain_no_tar
from imig.stages.sources.base import SourceError, printable_path
from imig.stores.path import OutputPath, StorePath

_TAR_ERRORS: Final = (
    tarfile.TarError, OSError, ValueError, LookupError, OverflowError, RecursionError, MemoryError,
)  # fmt: skip
# What tarfile raises on damaged extension headers: there is no common class.

_CHUNK: Final = 1 << 20
_MAX_SPARSE: Final = 1 << 30
"""Bytes of a sparse member: its header can state any size without the bytes being there."""


class Member(NamedTuple):
    """Where a member's bytes lie."""

    archive: int
    """Number of the tar."""
    offset: int
    size: int
    """In bytes, as it would be unpacked."""
    pieces: tuple[tuple[int, int], ...] = ()
    """Of a sparse member: (where it belongs, bytes) of each piece stored; zeros between."""

    @property
    def stored(self) -> int:
        """Bytes in the tar."""
        return sum(size for _, size in self.pieces) if self.pieces else self.size


class FileState(NamedTuple):
    """What tells that a file is still the one that was listed."""

    size: int
    changed: int | str
    """Time of its last change, in nanoseconds; what a store has for it."""


class ChangedArchiveError(Exception):
    """A tar is not what it was when it was listed: what lay at an offset may lie elsewhere."""


class OddMemberError(Exception):
    """A member that nobody should read; the message says why."""


@dataclass
class Listing:
    """The files of a tar, in the order of their first appearance, and what was odd."""

    members: dict[str, tuple[str, Member]] = field(default_factory=dict)
    """Name to compare by (`clean_name`) -> (name as it stands there, place)."""
    repeated: list[str] = field(default_factory=list)
    """Names that stand there more than once: the last one is taken, as when a tar is unpacked or
    brought up to date with ``tar --append``. webdataset's own reader refuses such a sample."""
    dangling: list[str] = field(default_factory=list)
    """Links that lead to no file of this tar."""
    hidden: int = 0
    """Files whose name starts with a dot, as macOS puts them beside each file (``._a.jpg``)."""
    faults: list[str] = field(default_factory=list)
    """How the tar is damaged; what lies before the damage is listed."""
    state: FileState | None = None
    """Of the tar when it was listed."""


@dataclass(frozen=True)
class _Link:
    target: str


def clean_name(name: str) -> str:
    """A name to compare by: composed characters (macOS decomposes them), no ``./``, no ``//``."""
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    if name.startswith(("/", ".")) or "/." in name or "//" in name:
        name = posixpath.normpath(name).lstrip("/")
    return name


def list_archive(path: OutputPath, number: int) -> Listing:
    """List a tar; its members get the tar's `number`.

    Raises
    ------
    SourceError
        When it is no plain tar, or nothing of it can be read; says what it is instead.
    """
    listing = Listing()
    names: dict[str, str] = {}
    found: dict[str, _Link | Member] = {}
    try:
        with _open(path) as file:
            state = listing.state = _state(path, file)
            for info in _headers(file, state.size, path, listing):
                name = clean_name(info.name)
                if name in found:
                    listing.repeated.append(name)
                names.setdefault(name, info.name)
                found[name] = _place(info, name, number, found)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
    for name, place in found.items():
        base = name.rpartition("/")[2]
        if base.startswith(".") or name.startswith("__MACOSX/"):
            listing.hidden += 1
        elif "." in base:
            member = _follow(place, found)
            if member is not None:
                listing.members[name] = (names[name], member)
            elif not _is_folder(place, found):
                listing.dangling.append(name)
    return listing


def _place(
    info: tarfile.TarInfo, name: str, number: int, found: dict[str, _Link | Member]
) -> _Link | Member:
    if info.issym():
        return _Link(clean_name(posixpath.join(posixpath.dirname(name), info.linkname)))
    if info.islnk():
        # The file as it is by now: a later one of that name would not change what was linked.
        target = clean_name(info.linkname)
        return found.get(target, _Link(target))
    return Member(number, info.offset_data, info.size, _pieces(info))


def _pieces(info: tarfile.TarInfo) -> tuple[tuple[int, int], ...]:
    sparse: list[tuple[int, int]] | None = getattr(info, "sparse", None)
    return tuple((offset, size) for offset, size in sparse or ())


def _follow(place: _Link | Member, found: dict[str, _Link | Member]) -> Member | None:
    """The file that a chain of links ends at."""
    for _ in range(40):  # as many as Linux follows
        if isinstance(place, Member):
            return place
        if place.target not in found:
            return None
        place = found[place.target]
    return None


def _is_folder(place: _Link | Member, found: dict[str, _Link | Member]) -> bool:
    """Whether a link leads to a folder of the tar; what is in there stands there by itself."""
    return isinstance(place, _Link) and any(name.startswith(place.target + "/") for name in found)


def _headers(
    file: BinaryIO, size: int, path: OutputPath, listing: Listing
) -> Iterator[tarfile.TarInfo]:
    """Headers of files and links whose bytes are all there; notes how the tar ends otherwise."""
    start = file.read(512)
    file.seek(0)
    at, whole = -1, 0
    try:
        tar = tarfile.open(fileobj=file, mode="r:", errors="surrogateescape")  # noqa: SIM115
    except _TAR_ERRORS as error:
        if isinstance(error, OSError):
            raise
        raise explain_no_tar(path, start, str(error)) from error
    while True:
        try:
            info = tar.next()
        except _TAR_ERRORS as error:
            # A file that ends with its last member's bytes lacks nothing but what fills a block.
            ended = whole and tar.offset >= size
            fault = "" if ended else f"damaged behind byte {at}: {error}"
            break
        if info is None:
            fault = _end_fault(file, tar.offset, size)
            break
        sizes = [info.size, *(figure for piece in _pieces(info) for figure in piece)]
        if info.offset <= at or min(sizes) < 0:
            fault = f"damaged at byte {info.offset}: no valid header"
            break
        tar.members = []  # type: ignore[attr-defined]  # else tarfile keeps every header
        at = info.offset
        stored = sum(piece for _, piece in _pieces(info)) if _pieces(info) else info.size
        if info.isreg() and info.offset_data + stored > size:
            fault = f"cut off at byte {size}, inside of {printable_path(info.name)}"
            break
        whole += 1
        if info.isreg() or info.issym() or info.islnk():
            yield info
    if fault and not whole:
        raise explain_no_tar(path, start, fault)
    if fault:
        listing.faults.append(f"{path.name}: {fault}; what is before it is used")


def _end_fault(file: BinaryIO, offset: int, size: int) -> str:
    """What is wrong with the end of a tar whose next header would be at `offset`; "" if nothing."""
    if offset >= size:
        # Without the closing zeros: many writers never write them.
        return "" if offset - size < 512 else f"cut off at byte {size}"
    file.seek(offset)
    block = file.read(512)
    if len(block) < 512:
        return f"cut off at byte {size}" if block.strip(b"\0") else ""
    if block.strip(b"\0"):
        return f"damaged at byte {offset}: no valid header"
    while chunk := file.read(_CHUNK):
        if chunk.strip(b"\0"):
            return f"its end is at byte {offset}, and behind it there is more, which no reader sees"
    return ""


def read_member(
    path: OutputPath, member: Member, *, state: FileState | None = None, limit: int | None = None
) -> bytes:
    """The bytes of a member.

    Parameters
    ----------
    state:
        The tar's when it was listed.
    limit:
        Bytes beyond which a member is not read.

    Raises
    ------
    OSError
        The system does not give them.
    ChangedArchiveError
        The tar is another by now.
    OddMemberError
        There are too many.
    """
    if limit is not None and member.size > limit:
        raise OddMemberError(f"its {member.size} bytes are more than {limit}")
    if member.pieces and member.size > _MAX_SPARSE:
        raise OddMemberError(f"a sparse member of {member.size} bytes")
    data = _read(path, member, state)
    if len(data) < member.stored:
        raise ChangedArchiveError
    if not member.pieces:
        return data
    whole, position = bytearray(member.size), 0
    for offset, size in member.pieces:
        whole[offset : offset + size] = data[position : position + size]
        position += size
    return bytes(whole[: member.size])


def is_unchanged(path: OutputPath, state: FileState) -> bool:
    """Whether the tar is there, and is what it was when it was listed."""
    try:
        if isinstance(path, StorePath):
            return _state_there(path) == state
        with open_regular_file(path) as file:
            return _state(path, file) == state
    except OSError:
        return False


def _read(path: OutputPath, member: Member, state: FileState | None) -> bytes:
    """The stored bytes of a member. Raises ChangedArchiveError where the state is another."""
    if isinstance(path, StorePath):
        if state is not None and _state_there(path) != state:
            raise ChangedArchiveError
        with _as_system_errors():
            return path.read_range(member.offset, member.stored) if member.stored else b""
    with open_regular_file(path) as file:
        if state is not None and _state(path, file) != state:
            raise ChangedArchiveError
        file.seek(member.offset)
        return file.read(member.stored)


@contextmanager
def _open(path: OutputPath) -> Iterator[BinaryIO]:
    if isinstance(path, StorePath):
        with _as_system_errors(), path.open_ranges() as file:
            yield file
    else:
        with open_regular_file(path) as file:
            yield file


@contextmanager
def _as_system_errors() -> Iterator[None]:
    """A store that does not answer is what a failing disk is."""
    try:
        yield
    except SourceError:
        raise
    except ImigError as error:
        raise OSError(errno.EIO, error.message) from error


def _state_there(path: StorePath) -> FileState:
    with _as_system_errors():
        return FileState(*path.version())


def _state(path: OutputPath, file: BinaryIO) -> FileState:
    if isinstance(path, StorePath):
        return _state_there(path)
    found = os.fstat(file.fileno())
    return FileState(found.st_size, found.st_mtime_ns)

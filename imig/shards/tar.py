"""Walk a tar's bytes without trusting them.

`tarfile` ends silently at the first damaged header; a check must say what is damaged, where, and go
on behind it. The format is POSIX ustar (pax(1), "ustar Interchange Format").
"""

from __future__ import annotations

import mmap
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

Buffer = bytes | mmap.mmap

BLOCK = tarfile.BLOCKSIZE
_MAGIC = b"ustar"
_MAGIC_OFFSET = 257
_PLAIN_FILE = (tarfile.REGTYPE, tarfile.AREGTYPE)


@dataclass(frozen=True)
class TarMember:
    """One member: its header starts at `offset`, its `size` bytes of data at `data_offset`."""

    name: str
    offset: int
    data_offset: int
    size: int
    plain: bool
    """False for links, devices, folders and extension headers."""

    @property
    def end(self) -> int:
        """Where the next header starts."""
        return self.data_offset + padded(self.size)


@dataclass(frozen=True)
class TarFault:
    """Damage at a byte offset; `kind` is one of `imig.shards.faults.KINDS`."""

    kind: str
    offset: int
    message: str


def padded(size: int) -> int:
    """`size` rounded up to whole tar blocks."""
    return -(-size // BLOCK) * BLOCK


def walk_tar(data: Buffer, *, whole: bool = True) -> Iterator[TarMember | TarFault]:
    """Members and damage of a tar in file order.

    Behind a damaged header the walk goes on at the next valid one. Only members whose data is all
    there are yielded. With ``whole=False`` `data` is the region of some members, without the end
    of the archive.
    """
    position, length = 0, len(data)
    while position < length:
        block = data[position : position + BLOCK]
        if not block.strip(b"\0"):
            if whole:
                yield from _check_end(data, position)
            else:
                yield TarFault("garbage-between-members", position, "zeros instead of a header")
            return
        try:
            info = tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
        except tarfile.HeaderError as error:
            if len(block) < BLOCK:
                yield TarFault("truncated-header", position, f"the file ends after {length} bytes")
                return
            kind = (
                "bad-header-checksum"
                if block[_MAGIC_OFFSET : _MAGIC_OFFSET + len(_MAGIC)] == _MAGIC
                else "garbage-between-members"
            )
            yield TarFault(kind, position, f"no valid header at byte {position}: {error}")
            position = _next_header(data, position + 1)
            continue
        member = TarMember(
            name=info.name,
            offset=position,
            data_offset=position + BLOCK,
            size=max(info.size, 0),
            plain=info.type in _PLAIN_FILE,
        )
        if member.data_offset + member.size > length:
            missing = member.data_offset + member.size - length
            yield TarFault(
                "truncated-data", position, f"{member.name}: the last {missing} bytes are missing"
            )
            return
        yield member
        position = member.end
    if whole:
        yield TarFault("missing-end-of-archive", length, "the two closing zero blocks are missing")


def member_data(data: Buffer, member: TarMember) -> bytes:
    """The bytes of a member that `walk_tar` found in `data`."""
    return bytes(data[member.data_offset : member.data_offset + member.size])


def split_member(name: str) -> tuple[str, str]:
    """``"basic-00000042.ref00.jpg"`` -> ``("basic-00000042", "ref00.jpg")``.

    Split at the first dot of the base name, as the webdataset package does.
    """
    folder, slash, base = name.rpartition("/")
    key, _, member = base.partition(".")
    return folder + slash + key, member


def _check_end(data: Buffer, position: int) -> Iterator[TarFault]:
    if len(data) - position < 2 * BLOCK:
        yield TarFault("missing-end-of-archive", position, "one closing zero block instead of two")
        return
    for start in range(position, len(data), BLOCK):
        if data[start : start + BLOCK].strip(b"\0"):
            yield TarFault(
                "data-after-end",
                start,
                f"the archive ends at byte {position}, but there is more at byte {start}; "
                "readers never see it",
            )
            return


def _next_header(data: Buffer, start: int) -> int:
    """Offset of the next valid header at or behind `start`; the length of `data` if there is none.

    The search does not assume that what is between is a multiple of the block size.
    """
    position = start
    while True:
        found = data.find(_MAGIC, position + _MAGIC_OFFSET)
        if found < 0:
            return _trailing_zeros(data, start)
        position = found - _MAGIC_OFFSET
        try:
            tarfile.TarInfo.frombuf(
                data[position : position + BLOCK], tarfile.ENCODING, "surrogateescape"
            )
        except tarfile.HeaderError:
            position += 1
        else:
            return position


def _trailing_zeros(data: Buffer, start: int) -> int:
    """Where the zeros at the end of `data` begin, so that the end of the archive is still seen."""
    position = len(data)
    while position - BLOCK >= start and not data[position - BLOCK : position].strip(b"\0"):
        position -= BLOCK
    return position

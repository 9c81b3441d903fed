"""The tar itself: cut off, glued together, with headers that lie."""

from __future__ import annotations

import gzip
import tarfile
from functools import partial

from support.hostile.planted import ARCHIVE, MEMBERS, NOTHING, RECORD, SHARD_FILE, Group
from support.hostile.victim import OTHER, SAMPLE, SHARD, Victim, member_bytes, spans_of, tar_header

ARCHIVES = Group(
    "The archive",
    "A shard's bytes, as a tar. Readers by index seek to a sample and never see what lies between "
    "two of them; `refilter`, `split` and `merge` walk along whole shards.",
)
_BLOCK = tarfile.BLOCKSIZE


@ARCHIVES.fault(RECORD.naming(SHARD))
def cut_off_in_data(victim: Victim) -> None:
    """the file ends 700 bytes before a member does"""
    offset, size = spans_of(victim.tar())[SAMPLE]
    victim.raw = victim.tar()[: offset + size - 700]


@ARCHIVES.fault(RECORD.naming(SHARD))
def cut_off_in_a_header(victim: Victim) -> None:
    """the file ends 100 bytes into a header"""
    victim.raw = victim.tar()[: spans_of(victim.tar())[SAMPLE][0] + 100]


@ARCHIVES.fault(ARCHIVE)
def no_end(victim: Victim) -> None:
    """the two closing zero blocks are missing"""
    victim.raw = victim.tar()[: -2 * _BLOCK]


@ARCHIVES.fault(ARCHIVE)
def half_an_end(victim: Victim) -> None:
    """one closing zero block instead of two"""
    victim.raw = victim.tar()[:-_BLOCK]


@ARCHIVES.fault(ARCHIVE)
def garbage_behind_the_end(victim: Victim) -> None:
    """7,000 bytes behind the end of the archive"""
    victim.raw = victim.tar() + b"garbage" * 1000


@ARCHIVES.fault(ARCHIVE)
def second_archive_behind_the_end(victim: Victim) -> None:
    """another whole tar behind the end, as `cat a.tar b.tar` makes"""
    victim.placed = victim.tar()
    victim.raw = victim.placed * 2


@ARCHIVES.fault(ARCHIVE)
def garbage_between_samples(victim: Victim) -> None:
    """1,536 bytes between two samples that are no tar"""
    victim.insert(b"\x42" * 3 * _BLOCK)


@ARCHIVES.fault(RECORD.naming(SHARD))
def odd_bytes_between_samples(victim: Victim) -> None:
    """garbage of 700 bytes, so that all that follows lies off the block grid"""
    victim.insert(b"\x42" * 700)


@ARCHIVES.fault(MEMBERS)
def garbage_within_a_sample(victim: Victim) -> None:
    """1,536 bytes between two members of a sample"""
    victim.insert(b"\x42" * 3 * _BLOCK, before="ref00.jpg")


@ARCHIVES.fault(ARCHIVE)
def zeros_between_samples(victim: Victim) -> None:
    """an end of archive in the middle: half of the readers stop there"""
    victim.insert(bytes(2 * _BLOCK))


@ARCHIVES.fault(MEMBERS.naming(SHARD))
def header_of_another_checksum(victim: Victim) -> None:
    """one bit of a header's checksum is wrong"""
    data = bytearray(victim.tar())
    data[spans_of(bytes(data))[SAMPLE][0] + 150] ^= 1
    victim.raw = bytes(data)


SIZES = {
    "size-of-8-gb": ("the size of a member is 8 GB, in octal", b"77777777777\0"),
    "size-negative": ("the size of a member is negative, in base 256", b"\xff" * 11 + b"\xf0"),
    "size-of-2-to-the-87": ("the size of a member has 88 bits", b"\x80" + b"\xff" * 11),
    "size-no-number": ("the size of a member is no number", b"0x00000001z\0"),
    "size-empty": ("the size of a member is empty", bytes(12)),
}


def _with_size(victim: Victim, field: bytes) -> None:
    data = bytearray(victim.tar())
    offset = spans_of(bytes(data))[SAMPLE][0]
    data[offset : offset + _BLOCK] = tar_header(f"{SAMPLE}.json", size_field=field)
    victim.raw = bytes(data)


for _kind, (_what, _field) in SIZES.items():
    # A header that cannot be read at all is passed over by who looks for the JSON behind it.
    _part = MEMBERS if _kind == "size-no-number" else RECORD
    ARCHIVES.add(_kind, _what, _part.naming(SHARD), partial(_with_size, field=_field))


@ARCHIVES.fault(NOTHING, legal="A tar of the GNU format is as plain as one of POSIX.")
def headers_of_gnu(victim: Victim) -> None:
    """headers with GNU's magic in place of POSIX's"""
    victim.raw = b"".join(
        member_bytes(name, data, magic=b"ustar  \0") for name, data in victim.members
    ) + bytes(2 * _BLOCK)


@ARCHIVES.fault(NOTHING, legal="Owner and mode of a member mean nothing to a reader of pictures.")
def owner_that_is_no_number(victim: Victim) -> None:
    """a set-uid mode and an enormous owner in a header"""
    name = f"{SAMPLE}.json"
    victim.raw = b"".join(
        member_bytes(one, data, mode=b"0006777\0", uid=b"\x80\0\0\0\x7f\xff\xff\xff")
        if one == name
        else member_bytes(one, data)
        for one, data in victim.members
    ) + bytes(2 * _BLOCK)


def _extension(victim: Victim, name: str, kind: bytes, data: bytes) -> None:
    victim.insert(member_bytes(name, data, kind=kind))


def _pax(**records: str) -> bytes:
    out = b""
    for key, value in records.items():
        body = f" {key}={value}\n".encode()
        length = len(body) + 1
        while len(str(length)) + len(body) != length:
            length = len(str(length)) + len(body)
        out += str(length).encode() + body
    return out


EXTENSIONS = {
    "pax-path-outside": ("an extended header that renames the next member to ../../evil",
                         tarfile.XHDTYPE, _pax(path="../../evil")),
    "pax-size-huge": ("an extended header: the next member has 2^63 bytes",
                      tarfile.XHDTYPE, _pax(size=str(1 << 63))),
    "pax-size-negative": ("an extended header: the next member has -512 bytes",
                          tarfile.XHDTYPE, _pax(size="-512")),
    "pax-owner-text": ("an extended header whose uid is a text",
                       tarfile.XHDTYPE, _pax(uid="root", gid="\u202e", mtime="NaN")),
    "pax-record-endless": ("an extended header whose record says 10^19 bytes",
                           tarfile.XHDTYPE, b"10000000000000000000 path=x\n"),
    "pax-global": ("a global extended header that renames everything",
                   tarfile.XGLTYPE, _pax(path="../../evil")),
    "pax-sparse": ("GNU's sparse format 1.0 in an extended header",
                   tarfile.XHDTYPE, _pax(**{"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                                            "GNU.sparse.realsize": str(1 << 50)})),
    "gnu-long-name": ("GNU's header for a name of 200 letters",
                      tarfile.GNUTYPE_LONGNAME, b"a" * 200 + b"\0"),
    "gnu-long-link": ("GNU's header for a long link", tarfile.GNUTYPE_LONGLINK, b"/etc/passwd\0"),
}  # fmt: skip
for _kind, (_what, _type, _data) in EXTENSIONS.items():
    ARCHIVES.add(
        _kind, _what, ARCHIVE,
        partial(_extension, name="././@Extension", kind=_type, data=_data),
    )  # fmt: skip


SPECIAL = {
    "symbolic-link": ("a symbolic link to /etc/passwd", tarfile.SYMTYPE),
    "hard-link": ("a hard link to /etc/passwd", tarfile.LNKTYPE),
    "character-device": ("a character device", tarfile.CHRTYPE),
    "block-device": ("a block device", tarfile.BLKTYPE),
    "pipe": ("a named pipe", tarfile.FIFOTYPE),
    "folder": ("a folder", tarfile.DIRTYPE),
    "sparse-file": ("a sparse file of GNU's old format", tarfile.GNUTYPE_SPARSE),
    "unknown-type": ("a member of a type that nobody knows", b"Z"),
}


def _special(victim: Victim, kind: bytes) -> None:
    link = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    block = tar_header(f"{SAMPLE}.aa.jpg", kind=kind, link=link)
    victim.insert(block, before="face00.png")


for _kind, (_what, _type) in SPECIAL.items():
    ARCHIVES.add(
        f"member-{_kind}",
        f"{_what} among a sample's members",
        MEMBERS.naming(SHARD, SAMPLE, "aa.jpg"),
        partial(_special, kind=_type),
    )


@ARCHIVES.fault(MEMBERS.naming(SHARD, SAMPLE, "target.jpg"))
def target_symbolic_link(victim: Victim) -> None:
    """a link to /etc/passwd in place of the target"""
    link = tar_header(f"{SAMPLE}.target.jpg", kind=tarfile.SYMTYPE, link="/etc/passwd")
    victim.raw = b"".join(
        link if name == f"{SAMPLE}.target.jpg" else member_bytes(name, data)
        for name, data in victim.members
    ) + bytes(2 * _BLOCK)


@ARCHIVES.fault(RECORD.naming(SHARD, SAMPLE, "json"))
def json_symbolic_link(victim: Victim) -> None:
    """a link to another sample's JSON in place of a sample's own"""
    link = tar_header(f"{SAMPLE}.json", kind=tarfile.SYMTYPE, link=f"{OTHER}.json")
    victim.raw = b"".join(
        link if name == f"{SAMPLE}.json" else member_bytes(name, data)
        for name, data in victim.members
    ) + bytes(2 * _BLOCK)


@ARCHIVES.fault(SHARD_FILE)
def nothing_but_zeros(victim: Victim) -> None:
    """a shard of zeros alone"""
    victim.raw = bytes(20 * _BLOCK)


@ARCHIVES.fault(SHARD_FILE)
def compressed(victim: Victim) -> None:
    """a shard that gzip has packed"""
    victim.raw = gzip.compress(victim.tar(), mtime=0)


@ARCHIVES.fault(SHARD_FILE)
def empty(victim: Victim) -> None:
    """a shard of no byte"""
    victim.raw = b""


@ARCHIVES.fault(SHARD_FILE)
def shard_missing(victim: Victim) -> None:
    """a shard that the manifest lists and that is not there"""
    victim.loose(victim.shard.unlink)


@ARCHIVES.fault(SHARD_FILE)
def shard_is_a_pipe(victim: Victim) -> None:
    """a named pipe in place of a shard: whoever opens it waits for ever"""
    victim.pipe(SHARD)


@ARCHIVES.fault(SHARD_FILE)
def shard_is_endless(victim: Victim) -> None:
    """a link to /dev/zero in place of a shard"""
    victim.link(SHARD, "/dev/zero")


@ARCHIVES.fault(SHARD_FILE)
def shard_is_a_folder(victim: Victim) -> None:
    """a folder in place of a shard"""
    victim.make_folder(SHARD)


@ARCHIVES.fault(SHARD_FILE)
def shard_is_a_dead_link(victim: Victim) -> None:
    """a link to nowhere in place of a shard"""
    victim.link(SHARD, "/nowhere/x.tar")


@ARCHIVES.fault(SHARD_FILE)
def shard_is_a_circle(victim: Victim) -> None:
    """a link to itself in place of a shard"""
    victim.link(SHARD, SHARD)

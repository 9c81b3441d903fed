"""The path of a webdataset source -> its tar files; and what a file is that is no plain tar."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import braceexpand

from imig.stages.sources.base import SourceError
from imig.stores.filesystem import WRITABLE, scheme_of
from imig.stores.path import OutputPath, StorePath

MAX_ARCHIVES: Final = 100_000
"""Tars that one pattern may name; a mistyped range names millions and would fill the memory."""

_RANGE: Final = re.compile(r"(-?\d+)\.\.(-?\d+)")
_CURE: Final = "give a folder, a tar file, or a brace pattern such as x-{00..12}.tar"
_COMPRESSED: Final = (
    (b"\x1f\x8b", "compressed with gzip", "gzip -dc {name} > plain.tar"),
    (b"BZh", "compressed with bzip2", "bzip2 -dc {name} > plain.tar"),
    (b"\xfd7zXZ\0", "compressed with xz", "xz -dc {name} > plain.tar"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "zstd -dc {name} > plain.tar"),
    (b"\x04\x22\x4d\x18", "compressed with lz4", "lz4 -dc {name} > plain.tar"),
    (b"\x1f\x9d", "compressed with compress", "uncompress -c {name} > plain.tar"),
)
"""The first bytes of a file, what it then is, and what makes a plain tar of it."""
_UNPACK: Final = "unpack it into a folder, and give that with `kind: folder`, or pack it with tar"
_FETCH: Final = "what was fetched is not the archive: fetch it again"
_OTHERS: Final = (
    (b"PK\x03\x04", "a zip", _UNPACK),
    (b"PK\x05\x06", "a zip without members", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a rar archive", _UNPACK),
    (b"PAR1", "a parquet table", "give the tars that the table belongs to"),
    (b"version https://git-lfs", "a pointer of Git LFS in place of the tar", "git lfs pull"),
)
_COMPRESSED_SUFFIXES: Final = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz", ".zip")


def path_to_archives(path: str) -> list[OutputPath]:
    """The tars that a folder, a file or a brace pattern means, in order.

    What exists as it is written is meant as it is written, braces or not: a folder ``br{1,2}x`` is
    no pattern.

    Raises
    ------
    SourceError
        When there is none, or one of them is missing.
    """
    if "://" in path and scheme_of(path) in WRITABLE:
        return _address_to_archives(path.rstrip("/"))
    if "://" in path or path.startswith("pipe:"):
        raise SourceError(
            f"{path} is not on this machine; imig reads local tars, and those of s3:// and gs://",
            cure="download them first, and give their folder",
        )
    try:
        place = Path(path).expanduser()
        if place.is_dir():
            return [*_folder_to_archives(place)]
        if place.is_file():
            return [place]
        return [*_pattern_to_archives(path, place)]
    except (OSError, RuntimeError) as error:  # no such user; a name that is too long
        raise SourceError(f"{path}: {error}", cure=_CURE) from error


def _address_to_archives(address: str) -> list[OutputPath]:
    """The tars of a folder of a store, of one address, or of a brace pattern."""
    parent, _, name = address.rpartition("/")
    if not name.lower().endswith(".tar"):
        folder = StorePath(address)
        found = sorted(
            one
            for one, size in folder.sizes().items()
            if size is not None and one.lower().endswith(".tar") and not one.startswith(".")
        )
        if not found:
            raise SourceError(f"no .tar files in {address}", cure=_CURE)
        return [folder / one for one in found]
    if _most_names(name) > MAX_ARCHIVES:
        raise SourceError(f"{address} names more than {MAX_ARCHIVES:,} tars", cure=_CURE)
    there = StorePath(parent).sizes()
    try:
        wanted = [name] if name in there else list(braceexpand.braceexpand(name))
    except ValueError as error:
        raise SourceError(f"{address}: {error}", cure="for example x-{00..12}.tar") from error
    missing = [one for one in wanted if there.get(one) is None]
    if missing:
        raise SourceError(
            f"{parent}/{missing[0]} is not there ({len(missing)} of {len(wanted)} missing)",
            cure=_CURE,
        )
    return [StorePath(parent) / one for one in wanted]


def _folder_to_archives(folder: Path) -> list[Path]:
    names = sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))
    found = [folder / name for name in names if name.lower().endswith(".tar")]
    archives = [one for one in found if one.is_file()]
    lost = [one for one in found if not one.is_file() and not one.is_dir()]
    if lost:
        leads = "is a link that leads nowhere" if lost[0].is_symlink() else "is no regular file"
        raise SourceError(
            f"{lost[0]} {leads} ({len(lost)} of the {len(found)} .tar in the folder are such)",
            cure="bring back what it leads to, or take it out of the folder",
        )
    if archives:
        return archives
    packed = [name for name in names if name.lower().endswith(_COMPRESSED_SUFFIXES)]
    if packed:
        raise SourceError(
            f"no .tar files in {folder}, but {len(packed)} compressed ones ({packed[0]})",
            cure="unpack them to plain tars first",
        )
    below = sorted({one.parent for one in folder.glob("*/*.tar")})
    if below:
        raise SourceError(
            f"no .tar files in {folder} itself, but in {len(below)} folders below it",
            cure=f"give one of them, such as {below[0]}, or a brace pattern",
        )
    raise SourceError(f"no .tar files in {folder}", cure=_CURE)


def _pattern_to_archives(path: str, place: Path) -> list[Path]:
    """The first reading of the pattern whose files are all there."""
    readings = []
    try:
        # Folders that exist as they are written hold no pattern; the rest of the path may.
        existing = next((one for one in place.parents if one.is_dir()), Path())
        rest = place.relative_to(existing)
        for folder, pattern in ((existing, str(rest)), (Path(), str(place))):
            if _most_names(pattern) > MAX_ARCHIVES:
                raise SourceError(f"{path} names more than {MAX_ARCHIVES:,} tars", cure=_CURE)
            readings.append([folder / name for name in braceexpand.braceexpand(pattern)])
    except ValueError as error:
        raise SourceError(f"{path}: {error}", cure="for example x-{00..12}.tar") from error
    for archives in readings:
        if all(one.is_file() for one in archives):
            return archives
    lacking = [[one for one in archives if not one.is_file()] for archives in readings]
    # The reading that comes closest is the one that was meant.
    missing, archives = min(
        zip(lacking, readings, strict=True), key=lambda one: len(one[0]) / len(one[1])
    )
    raise SourceError(
        f"{missing[0]} is not there ({len(missing)} of {len(archives)} missing)", cure=_CURE
    )


def _most_names(pattern: str) -> int:
    """A bound on how many names a pattern has: braceexpand keeps all of them in the memory."""
    most, commas = 1, []
    for first, last in _RANGE.findall(pattern):
        most *= abs(int(last) - int(first)) + 1
    for letter in pattern:
        if letter == "{":
            commas.append(0)
        elif letter == "," and commas:
            commas[-1] += 1
        elif letter == "}" and commas:
            most *= commas.pop() + 1
    return most


def explain_no_tar(path: OutputPath, start: bytes, reason: str) -> SourceError:
    """The error for a file that is no plain tar; `start` are its first bytes."""
    for magic, kind, command in _COMPRESSED:
        if start.startswith(magic):
            cure = "unpack it first: " + command.format(name=path.name)
            return SourceError(f"{path} is not a plain tar: it is {kind}", cure=cure)
    for magic, kind, cure in _OTHERS:
        if start.startswith(magic):
            return SourceError(f"{path} is not a plain tar: it is {kind}", cure=cure)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith((b"<", b"{")):
        kind = "a web page or XML" if text.startswith(b"<") else "JSON"
        return SourceError(f"{path} is not a plain tar: it is {kind}", cure=_FETCH)
    if not start:
        return SourceError(f"{path} is not a plain tar: it has 0 bytes", cure=_FETCH)
    return SourceError(
        f"{path} is not a plain tar: {reason}",
        cure="unpack compressed ones first; leave damaged ones out",
    )

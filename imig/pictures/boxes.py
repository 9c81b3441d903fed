"""AVIF, HEIF and JPEG 2000, which keep everything in nested boxes, without metadata."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imig.pictures.stripped import MAX_PROFILE_BYTES, StatedColours, Stripped

JPEG_2000_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"

_METADATA_BOXES = frozenset({b"xml ", b"uuid", b"uinf", b"jp2i", b"asoc", b"free", b"skip"})


@dataclass(frozen=True)
class _Box:
    type_: bytes
    start: int
    content: int
    end: int


def is_avif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis")


def strip_avif(data: bytes) -> Stripped:
    """Give the items that hold metadata a type that no decoder knows; offsets stay as they are.

    For HEIF too. Which orientation and profile it has, its decoder says, and they are not stored in
    these items.
    """
    pixels = bytearray(data)
    for box in _find(data, (b"meta", b"iinf")):
        # `infe` boxes: version, flags, item id, protection, then the type.
        for found in re.finditer(
            rb"infe.{8}(Exif|mime|uri )", data[box.start : box.end], re.DOTALL
        ):
            pixels[box.start + found.start(1) : box.start + found.end(1)] = b"skip"
    return Stripped(bytes(pixels), colours=avif_colours(data))


def avif_colours(data: bytes) -> StatedColours:
    """Primaries and transfer that an AVIF or HEIF names by number, which decoders do not apply."""
    for box in _find(data, (b"meta", b"iprp", b"ipco", b"colr")):
        if data[box.content : box.content + 4] == b"nclx" and box.content + 8 <= box.end:
            primaries, transfer = struct.unpack_from(">HH", data, box.content + 4)
            return StatedColours(code_points=(primaries, transfer))
    return StatedColours()


def strip_jpeg_2000(data: bytes) -> Stripped:
    """Leave out boxes of metadata, and in the header resolutions."""
    kept: list[bytes] = []
    profile, has_profile = b"", False
    for box in _boxes(data, 0, len(data)):
        if box.type_ == b"jp2h":
            inner = [
                one
                for one in _boxes(data, box.content, box.end)
                if one.type_ in (b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef")
            ]
            for one in inner:
                if one.type_ == b"colr" and data[one.content : one.content + 1] == b"\x02":
                    has_profile = True
                    profile = data[one.content + 3 : one.end]
            content = b"".join(data[one.start : one.end] for one in inner)
            kept.append(struct.pack(">I4s", 8 + len(content), b"jp2h") + content)
        elif box.type_ not in _METADATA_BOXES:
            kept.append(data[box.start : box.end])
    profile = profile if len(profile) <= MAX_PROFILE_BYTES else b""
    return Stripped(b"".join(kept), profile=profile, damaged_profile=has_profile and not profile)


def _find(data: bytes, path: tuple[bytes, ...]) -> Iterator[_Box]:
    """Boxes below each other; `meta` and `iinf` have a version and flags before what they hold."""
    ranges = [(0, len(data))]
    found: list[_Box] = []
    for type_ in path:
        found = [
            box for start, stop in ranges for box in _boxes(data, start, stop) if box.type_ == type_
        ]
        ranges = [(box.content + 4 * (type_ == b"meta"), box.end) for box in found]
    yield from found


def _boxes(data: bytes, place: int, stop: int) -> Iterator[_Box]:
    while place + 8 <= stop:
        size, type_ = struct.unpack_from(">I4s", data, place)
        content = place + 8
        if size == 1 and place + 16 <= stop:
            (size,) = struct.unpack_from(">Q", data, content)
            content += 8
        end = stop if size == 0 else place + size
        if end < content:
            return
        yield _Box(type_, place, content, min(end, stop))
        place = end

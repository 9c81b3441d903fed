"""JPEG without its application segments and comments."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imig.pictures.stripped import MAX_PROFILE_BYTES, Stripped

SIGNATURE = b"\xff\xd8\xff"

_SCAN, _END, _COMMENT = 0xDA, 0xD9, 0xFE
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = frozenset({0xC0, 0xC1})
_RESTARTS = 0xDD
_TABLES = re.compile(rb"\xff[\xc0-\xc2\xc4\xdb\xdd]")
"""What the part of a JPEG that matters begins with."""

_EXIF, _XMP, _PROFILE = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"


@dataclass(frozen=True)
class _Segment:
    marker: int
    start: int
    end: int

    @property
    def is_metadata(self) -> bool:
        return 0xE0 <= self.marker <= 0xEF or self.marker == _COMMENT


def strip_jpeg(data: bytes) -> Stripped:
    """Keep what decoders look at, and of the application segments JFIF's and Adobe's.

    Those two say how colours are stored. A segment whose length is wrong ends where the tables of
    the picture begin.
    """
    kept = [b"\xff\xd8"]
    exif = xmp = b""
    profile: list[bytes] = []
    for segment in _segments(data, 2):
        if segment.marker in (_SCAN, _END):
            kept.append(data[segment.start :])
            break
        payload = data[segment.start + 4 : segment.end]
        if not segment.is_metadata or _says_how_colours_are_stored(segment.marker, payload):
            kept.append(data[segment.start : segment.end])
        elif segment.marker == 0xE1 and payload.startswith(_EXIF):
            exif += payload[len(_EXIF) :] if exif else payload
        elif segment.marker == 0xE1 and payload.startswith(_XMP):
            xmp = payload
        elif segment.marker == 0xE2 and payload.startswith(_PROFILE):
            profile.append(payload[len(_PROFILE) :])
    joined = _join_profile(profile)
    return Stripped(
        b"".join(kept),
        exif=exif,
        xmp=xmp,
        profile=joined,
        damaged_profile=bool(profile) and not joined,
    )


def endings_to_try(data: bytes) -> list[bytes]:
    """A sequential JPEG with its end mark, then with bits of no picture before that.

    Where the mark alone is missing all show the same: all pixels are there, and nobody reads the
    bits. Where pixels are missing, the bits become pixels. Empty for other files: progressive ones
    and those with restart marks tell nothing this way, for they break off in other places too.
    """
    if not data.startswith(SIGNATURE):
        return []
    markers = {segment.marker for segment in _segments(data, 2)}
    if not markers & _SEQUENTIAL or markers & ((_FRAMES - _SEQUENTIAL) | {_RESTARTS}):
        return []
    body = data.rstrip(b"\xff")
    end = bytes([0xFF, _END])
    return [body + bits * 64 + end for bits in (b"", b"\x5a\xa7", b"\x13\x0f", b"\xc9\xe4")]


def _segments(data: bytes, place: int) -> Iterator[_Segment]:
    """Up to the first scan; the last one ends with the file."""
    while segment := _segment_at(data, place):
        if segment.is_metadata and not _begins_segment(data, segment.end):
            segment = _Segment(segment.marker, segment.start, _find_tables(data, segment.start + 2))
        yield segment
        if segment.marker in (_SCAN, _END):
            return
        place = segment.end


def _segment_at(data: bytes, place: int) -> _Segment | None:
    start = data.find(b"\xff", place)
    # 0xff may be repeated before a marker, and decoders pass over what is no marker.
    while 0 <= start < len(data) - 1 and data[start + 1] in (0x00, 0xFF):
        start = data.find(b"\xff", start + 1)
    if not 0 <= start < len(data) - 1:
        return None
    marker = data[start + 1]
    if marker in _WITHOUT_LENGTH:
        return _Segment(marker, start, start + 2)
    if marker == _END or start + 4 > len(data):
        return _Segment(marker, start, len(data))
    (length,) = struct.unpack_from(">H", data, start + 2)
    return _Segment(marker, start, start + 2 + max(length, 2))


def _begins_segment(data: bytes, place: int) -> bool:
    return data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] >= b"\xc0"


def _find_tables(data: bytes, start: int) -> int:
    """Where the segments of the largest picture after `start` begin; a thumbnail is smaller."""
    best, found_at = 0, len(data)
    for found in _TABLES.finditer(data, start):
        pixels = _chain_to_pixels(data, found.start())
        if pixels > best:
            best, found_at = pixels, found.start()
    return found_at


def _chain_to_pixels(data: bytes, place: int) -> int:
    """Pixels of the frame whose segments follow each other from `place` to a scan; 0 if none."""
    pixels = 0
    while _begins_segment(data, place) and place + 4 <= len(data):
        marker = data[place + 1]
        (length,) = struct.unpack_from(">H", data, place + 2)
        if marker == _SCAN:
            return pixels
        if marker in _WITHOUT_LENGTH or marker == _END or length < 2:
            return 0
        if marker in _FRAMES and place + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, place + 5)
            pixels = width * height
        place += 2 + length
    return 0


def _says_how_colours_are_stored(marker: int, payload: bytes) -> bool:
    is_jfif = marker == 0xE0 and payload.startswith(b"JFIF\0") and len(payload) >= 14
    is_adobe = marker == 0xEE and payload.startswith(b"Adobe") and len(payload) >= 12
    return is_jfif or is_adobe


def _join_profile(pieces: list[bytes]) -> bytes:
    """Each piece begins with its number, from 1, and the count of pieces; empty if some lack."""
    pieces = sorted(pieces)
    whole = [piece[0] for piece in pieces if piece] == list(range(1, len(pieces) + 1))
    if not whole or any(piece[1:2] != bytes([len(pieces)]) for piece in pieces):
        return b""
    profile = b"".join(piece[2:] for piece in pieces)
    return profile if len(profile) <= MAX_PROFILE_BYTES else b""

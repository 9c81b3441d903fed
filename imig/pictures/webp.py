"""WebP without the chunks that hold metadata."""

from __future__ import annotations

import struct

from imig.pictures.stripped import MAX_PROFILE_BYTES, Stripped

_PIXELS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF")
_PROFILE_FLAG, _EXIF_FLAG, _XMP_FLAG = 0x20, 0x08, 0x04
"""Of the first byte of VP8X (RFC 9649, section 2.7)."""


def is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def strip_webp(data: bytes) -> Stripped:
    """Keep the chunks that pixels are made of, and make the header agree."""
    kept: list[bytes] = []
    found: dict[bytes, bytes] = {}
    place = 12
    while place + 8 <= len(data):
        type_, size = struct.unpack_from("<4sI", data, place)
        end = place + 8 + size + size % 2
        content = data[place + 8 : place + 8 + size]
        if type_ == b"VP8X" and content:
            flags = content[0] & ~(_PROFILE_FLAG | _EXIF_FLAG | _XMP_FLAG)
            kept.append(data[place : place + 8] + bytes([flags]) + data[place + 9 : end])
        elif type_ in _PIXELS:
            kept.append(data[place:end])
        else:
            found.setdefault(type_, content)
        place = end
    chunks = b"".join(kept)
    profile = found.get(b"ICCP", b"")
    if len(profile) > MAX_PROFILE_BYTES:
        profile = b""
    return Stripped(
        b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks,
        exif=found.get(b"EXIF", b""),
        xmp=found.get(b"XMP ", b""),
        profile=profile,
        damaged_profile=b"ICCP" in found and not profile,
    )

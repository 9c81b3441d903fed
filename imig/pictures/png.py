"""PNG without its ancillary chunks.

Their text is never unpacked, so that a few bytes which unpack to gigabytes cost nothing.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from imig.pictures.stripped import StatedColours, Stripped, unpack_profile

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_KNOWN_CHUNK = re.compile(
    rb"PLTE|IDAT|IEND|tRNS|iCCP|eXIf|cICP|sRGB|gAMA|cHRM|pHYs|tEXt|zTXt|iTXt|tIME|bKGD|sBIT"
)
_TYPE = re.compile(rb"[A-Za-z]{4}")


@dataclass(frozen=True)
class _Chunk:
    type_: bytes
    start: int
    """Of its length field."""
    data: bytes
    """Empty for IDAT, of which there is much."""
    end: int
    """After its checksum."""
    sound: bool
    """Its checksum is right; not looked at for IDAT."""


def strip_png(data: bytes) -> Stripped:
    """Keep critical chunks, and transparency where its checksum is right."""
    kept = [SIGNATURE]
    last: dict[bytes, _Chunk] = {}
    first: dict[bytes, _Chunk] = {}
    xmp = exif = b""
    for chunk in _chunks(data):
        is_critical = chunk.type_[:1].isupper() and _TYPE.fullmatch(chunk.type_) is not None
        if is_critical or (chunk.type_ == b"tRNS" and _is_transparency(chunk, data)):
            kept.append(data[chunk.start : chunk.end])
        first.setdefault(chunk.type_, chunk)
        last[chunk.type_] = chunk
        if chunk.type_ == b"iTXt" and chunk.data.startswith(b"XML:com.adobe.xmp\0\0"):
            xmp = chunk.data
        if chunk.type_ in (b"tEXt", b"zTXt") and chunk.data.startswith(b"Raw profile type exif\0"):
            exif = _raw_exif(chunk)
        if chunk.type_ == b"IEND":
            break
    if b"eXIf" in first:
        exif = first[b"eXIf"].data
    profile = b""
    if b"iCCP" in first:
        # A name, a zero, the method of compression (0, the only one), and the profile.
        profile = unpack_profile(first[b"iCCP"].data.partition(b"\0")[2][1:])
    return Stripped(
        b"".join(kept),
        exif=exif,
        xmp=xmp,
        profile=profile,
        damaged_profile=b"iCCP" in first and not profile,
        colours=_colours({type_: one.data for type_, one in first.items() if one.sound}),
    )


def _chunks(data: bytes) -> Iterator[_Chunk]:
    place = len(SIGNATURE)
    behind_pixels = False
    while place + 8 <= len(data):
        length, type_ = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if type_ == b"IDAT" and end <= len(data):
            yield _Chunk(type_, place, b"", end, sound=True)
            place, behind_pixels = end, True
            continue
        fits = end <= len(data)
        sound = fits and _is_sound(data, place)
        content = data[place + 8 : end - 4]
        if (
            not sound
            and not type_[:1].isupper()
            and not (fits and _begins_chunk(data, end, behind_pixels=behind_pixels))
        ):
            # The length is wrong: the chunk ends where another begins whose checksum is right.
            end = _next_sound(data, place + 8)
            content = data[place + 8 : end]
        yield _Chunk(type_, place, content, end, sound=sound)
        place = end


def _is_transparency(chunk: _Chunk, data: bytes) -> bool:
    """Whether it is sound, and has as many bytes as the colour type of the header wants."""
    wanted = {0: 2, 2: 6, 3: 1}.get(data[25] if len(data) > 25 else 0, 0)
    return chunk.sound and len(chunk.data) >= wanted


def _begins_chunk(data: bytes, place: int, *, behind_pixels: bool) -> bool:
    """Whether a chunk may begin here, by its name, or if nobody knows it by its checksum.

    The last one (IEND) may not where no pixels have come yet: they have been passed over.
    """
    if data[place + 4 : place + 8] == b"IEND" and not behind_pixels:
        return False
    if _KNOWN_CHUNK.match(data, place + 4):
        return True
    return _TYPE.fullmatch(data, place + 4, place + 8) is not None and _is_sound(data, place)


def _next_sound(data: bytes, start: int) -> int:
    for found in _KNOWN_CHUNK.finditer(data, start + 4):
        if _is_sound(data, found.start() - 4):
            return found.start() - 4
    return len(data)


def _is_sound(data: bytes, place: int) -> bool:
    """Whether the checksum of the chunk is right."""
    (length,) = struct.unpack_from(">I", data, place)
    end = place + 12 + length
    if end > len(data):
        return False
    checksum: int = struct.unpack_from(">I", data, end - 4)[0]
    return checksum == zlib.crc32(memoryview(data)[place + 4 : end - 4])


def _raw_exif(chunk: _Chunk) -> bytes:
    """EXIF as ImageMagick writes it into a text chunk: a name, a length, and hexadecimal digits."""
    text = chunk.data.partition(b"\0")[2]
    if chunk.type_ == b"zTXt":
        text = unpack_profile(text[1:])
    digits = b"".join(text.split()[2:])
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""


def _colours(chunks: dict[bytes, bytes]) -> StatedColours:
    code_points = chunks.get(b"cICP", b"")
    gamma, chromaticities = chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")
    return StatedColours(
        code_points=(code_points[0], code_points[1]) if len(code_points) == 4 else None,
        is_srgb=b"sRGB" in chunks,
        gamma=struct.unpack(">I", gamma)[0] / 1e5 if len(gamma) == 4 else None,
        chromaticities=tuple(value / 1e5 for value in struct.unpack(">8I", chromaticities))
        if len(chromaticities) == 32
        else None,
    )

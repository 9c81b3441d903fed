"""What remains of a picture file when its metadata are taken out, and what they said."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

MAX_PROFILE_BYTES = 8 << 20
"""A colour profile beyond is not looked at: large tables of printing presses have 3 MB. Its
compressed form in a PNG is unpacked no further."""


@dataclass(frozen=True)
class StatedColours:
    """What says, without a profile, which colours the numbers of a picture mean."""

    code_points: tuple[int, int] | None = None
    """Colour primaries and transfer characteristics, numbers of ITU-T H.273.

    PNG: cICP; AVIF: nclx.
    """
    is_srgb: bool = False
    gamma: float | None = None
    """gAMA: the exponent that encoded the picture, 0.45455 for sRGB."""
    chromaticities: tuple[float, ...] | None = None
    """cHRM: x and y of white, red, green and blue."""


@dataclass(frozen=True)
class Stripped:
    """A picture file taken apart; nothing in it has been decoded."""

    pixels: bytes
    """The file without metadata: the same pixels for every decoder."""
    exif: bytes = b""
    xmp: bytes = b""
    profile: bytes = b""
    """An ICC profile; empty where there is none."""
    damaged_profile: bool = False
    """There was a profile, but it cannot be put together or unpacked, or is too large."""
    colours: StatedColours = StatedColours()


def unpack_profile(data: bytes) -> bytes:
    """Inflate a profile up to `MAX_PROFILE_BYTES`; empty when it is damaged, or larger."""
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(data, MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return profile if unpacker.eof else b""

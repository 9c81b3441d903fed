"""How a picture lies, out of its EXIF or XMP, whatever else in them is broken.

Only the entries of EXIF's first directory are looked at; offsets that they hold are not followed.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from PIL import Image

from imig.layout.masks import Mask

ORIENTATION_TAG = 0x0112
_RESOLUTIONS = (0x011A, 0x011B)

_RATIONAL = 5
WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""TIFF types that an orientation is found in; SHORT (3) is the right one."""
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
               129: 1}  # fmt: skip
"""Bytes of a value by its TIFF type (TIFF 6.0, section 2; 129 is the UTF-8 of EXIF 3.0)."""

_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)\s*([1-8])")

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class ExifOrientation:
    """What EXIF says of the orientation, and whether its first directory is sound."""

    value: int | None
    """1 to 8; None where EXIF says nothing, or nothing possible."""
    damaged: bool


def read_exif_orientation(exif: bytes) -> ExifOrientation:
    """Find the orientation among the entries of EXIF's first directory.

    Parameters
    ----------
    exif:
        A TIFF structure, with or without ``Exif\\0\\0`` before it.
    """
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order, damaged = _byte_order(exif)
    if order is None:
        return ExifOrientation(None, damaged=True)
    start = struct.unpack_from(f"{order}I", exif, 4)[0]
    if not 8 <= start <= len(exif) - 2:
        start, damaged = 8, True  # where nearly every writer puts it
        if len(exif) < 10:
            return ExifOrientation(None, damaged=True)
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    there = (len(exif) - start - 2) // 12
    value = None
    for number in range(min(count, there)):
        place = start + 2 + 12 * number
        tag, type_, values = struct.unpack_from(f"{order}HHI", exif, place)
        damaged |= not _is_sound(exif, order, place + 8, tag=tag, type_=type_, values=values)
        if tag == ORIENTATION_TAG and value is None and values and type_ in WHOLE_NUMBERS:
            (value,) = struct.unpack_from(f"{order}{WHOLE_NUMBERS[type_]}", exif, place + 8)
    return ExifOrientation(
        value if value is not None and 1 <= value <= 8 else None, damaged or count > there
    )


def read_xmp_orientation(xmp: bytes) -> int | None:
    """The orientation in an XMP packet, 1 to 8; what EXIF says goes before it."""
    found = _XMP_ORIENTATION.search(xmp)
    return None if found is None else int(found[1])


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture as its photographer saw it; the same object where that is 1."""
    transposition = _TRANSPOSITIONS.get(orientation)
    return image if transposition is None else image.transpose(transposition)


def turn_mask_upright(mask: Mask, orientation: int) -> Mask:
    """A mask of the picture as it lies in the file, turned as `turn_upright` turns the picture."""
    if orientation >= 5:  # those that lie on their side
        mask = mask.T
    if orientation in (2, 3, 6, 7):
        mask = mask[:, ::-1]
    if orientation in (3, 4, 7, 8):
        mask = mask[::-1]
    return mask


def _byte_order(exif: bytes) -> tuple[str | None, bool]:
    """``struct``'s sign for the byte order, and whether the header is damaged."""
    if len(exif) < 8:
        return None, True
    for mark, magic, order in ((b"II", b"*\0", "<"), (b"MM", b"\0*", ">")):
        if exif[:2] == mark or exif[2:4] == magic:
            return order, exif[:4] != mark + magic
    return None, True


def _is_sound(exif: bytes, order: str, place: int, *, tag: int, type_: int, values: int) -> bool:
    if type_ not in _TYPE_BYTES or (tag in _RESOLUTIONS and type_ != _RATIONAL):
        return False
    size = values * _TYPE_BYTES[type_]
    if size <= 4:
        return True
    offset: int = struct.unpack_from(f"{order}I", exif, place)[0]
    return offset + size <= len(exif)

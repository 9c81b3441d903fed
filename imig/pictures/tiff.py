"""TIFF with only those tags of its first picture that pixels are made of."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from imig.pictures.orientation import ORIENTATION_TAG, WHOLE_NUMBERS
from imig.pictures.stripped import MAX_PROFILE_BYTES, Stripped

_PIXEL_TAGS = frozenset(
    {
        254, 255, 256, 257, 258, 259, 262, 263, 266, 273, ORIENTATION_TAG, 277, 278, 279, 284, 292,
        293, 317, 320, 322, 323, 324, 325, 332, 334, 338, 339, 347, 512, 513, 514, 515, 517, 518,
        519, 520, 521, 529, 530, 531, 532,
    }
)  # fmt: skip
"""TIFF 6.0 and, for JPEG in TIFF, its Technical Note 2."""
_PROFILE_TAG = 34675
_SHORT = 3


@dataclass(frozen=True)
class _Layout:
    """Where classic TIFF and BigTIFF differ."""

    order: str
    count: str
    """``struct``'s letter for the number of entries."""
    number: str
    """For counts of values and for offsets."""
    entry: int
    """Bytes of an entry."""


def is_tiff(data: bytes) -> bool:
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def strip_tiff(data: bytes) -> Stripped:
    """Leave out entries in place, so that all offsets stay as they are, and further pictures."""
    order = "<" if data[:2] == b"II" else ">"
    is_big = b"+" in data[2:4]
    layout = _Layout(order, "Q", "Q", 20) if is_big else _Layout(order, "H", "I", 12)
    try:
        return _strip(data, layout, header=8 if is_big else 4)
    except struct.error:
        return Stripped(data)  # cut off within the directory: the pixels are not found either


def _strip(data: bytes, layout: _Layout, *, header: int) -> Stripped:
    order = layout.order
    (start,) = struct.unpack_from(f"{order}{layout.number}", data, header)
    (count,) = struct.unpack_from(f"{order}{layout.count}", data, start)
    first = start + struct.calcsize(f"{order}{layout.count}")
    kept: dict[int, bytes] = {}
    profile, has_profile = b"", False
    for number in range(min(count, (len(data) - first) // layout.entry)):
        place = first + number * layout.entry
        tag, type_, values = struct.unpack_from(f"{order}HH{layout.number}", data, place)
        value_at = place + 4 + struct.calcsize(f"{order}{layout.number}")
        if tag == _PROFILE_TAG:
            has_profile = True
            (offset,) = struct.unpack_from(f"{order}{layout.number}", data, value_at)
            profile = data[offset : offset + values] if values <= MAX_PROFILE_BYTES else b""
        entry = data[place : place + layout.entry]
        if tag == ORIENTATION_TAG:
            if type_ not in WHOLE_NUMBERS or not values:
                continue
            # Whichever kind of number it is, the decoder asks for a SHORT.
            (value,) = struct.unpack_from(f"{order}{WHOLE_NUMBERS[type_]}", data, value_at)
            head = struct.pack(f"{order}HH{layout.number}H", tag, _SHORT, 1, value & 0xFFFF)
            entry = head.ljust(layout.entry, b"\0")
        if tag in _PIXEL_TAGS:
            kept.setdefault(tag, entry)
    directory = struct.pack(f"{order}{layout.count}", len(kept)) + b"".join(kept.values())
    directory += struct.pack(f"{order}{layout.number}", 0)  # no further picture
    return Stripped(
        data[:start] + directory + data[start + len(directory) :],
        profile=profile,
        damaged_profile=has_profile and not profile,
    )

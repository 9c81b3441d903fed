"""GIF without comments, texts and what applications put into it."""

from __future__ import annotations

from imig.pictures.stripped import Stripped

SIGNATURES = (b"GIF87a", b"GIF89a")

_EXTENSION, _IMAGE, _END = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL = 0xF9
"""Which says what is transparent."""


def strip_gif(data: bytes) -> Stripped:
    """Keep pictures, and of the extensions the one that says what is transparent in them."""
    if len(data) < 13:
        return Stripped(data)
    place = 13 + _colour_table(data[10])
    kept = [data[:place]]
    while place < len(data) and data[place] in (_EXTENSION, _IMAGE):
        start = place
        if data[place] == _EXTENSION:
            place = _end_of_blocks(data, start + 2)
            if data[start + 1 : start + 2] == bytes([_GRAPHIC_CONTROL]):
                kept.append(data[start:place])
        else:
            flags = data[start + 9] if start + 9 < len(data) else 0
            # After the header and the colour table comes a byte for the decoder, then the blocks.
            place = _end_of_blocks(data, start + 10 + _colour_table(flags) + 1)
            kept.append(data[start:place])
    return Stripped(b"".join([*kept, bytes([_END])]))


def _colour_table(flags: int) -> int:
    """Bytes of the table that a packed field announces."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _end_of_blocks(data: bytes, place: int) -> int:
    while place < len(data) and data[place]:
        place += 1 + data[place]
    return min(place + 1, len(data))

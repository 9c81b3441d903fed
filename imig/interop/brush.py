"""Label Studio's run lengths of a mask ("brush"), as its converter and its page read them.

A stream of bits, most significant first: the number of values (32 bits), the bits of a value less
one (5), four sizes less one (4 each); then packets. A packet is a bit that says "run", two that
choose one of the sizes, a length less one of that many bits, and one value for a run, else as many
values as the length. The values are the picture's pixels row by row, red, green, blue, alpha, and a
pixel's alpha says whether it is in the mask.

The scheme is rle-pack of thi.ng/umbrella; the numbers below are those of
label_studio_sdk.converter.brush.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imig.errors import DataError
from imig.layout.masks import Mask

CHANNELS: Final = 4
_WORD: Final = 8
_SIZES: Final = np.array([3, 4, 8, 16])
"""Bits of a length."""
_LONGEST: Final = 1 << 16
_OPAQUE: Final = 127
"""The largest alpha of a pixel that is not in the mask."""


def mask_to_brush(mask: Mask) -> list[int]:
    """Bytes, as numbers from 0 to 255, of a mask (height, width)."""
    flat = mask.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(np.append(starts, flat.size)) * CHANNELS
    values = np.where(flat[starts], 255, 0)
    pieces = -(-lengths // _LONGEST)
    last = np.cumsum(pieces) - 1
    runs = np.full(int(pieces.sum()), _LONGEST)
    runs[last] = lengths - (pieces - 1) * _LONGEST
    values = np.repeat(values, pieces)
    chosen = np.searchsorted(1 << _SIZES, runs)
    bits = _SIZES[chosen]
    codes = (4 | chosen) << (bits + _WORD) | (runs - 1) << _WORD | values
    header = [(flat.size * CHANNELS, 32), (_WORD - 1, 5), *((int(one) - 1, 4) for one in _SIZES)]
    codes = np.concatenate([[code for code, _ in header], codes])
    bits = np.concatenate([[width for _, width in header], 3 + bits + _WORD])
    ends = np.cumsum(bits)
    below = np.repeat(ends, bits) - 1 - np.arange(ends[-1])
    stream = (np.repeat(codes, bits) >> below) & 1
    return [int(one) for one in np.packbits(stream.astype(np.uint8))]


def brush_to_mask(data: Sequence[int], *, size: tuple[int, int]) -> Mask:
    """The mask (height, width) of a picture of `size`, (width, height).

    Raises
    ------
    DataError
        These are no bytes, or no run lengths of a picture of that size.
    """
    width, height = size
    try:
        stream = np.frombuffer(bytes(data), dtype=np.uint8)
    except (TypeError, ValueError) as error:
        raise DataError(f"a brush mask is no list of bytes: {error}") from error
    return (
        _Bits(stream)
        .pixels(width * height * CHANNELS)[CHANNELS - 1 :: CHANNELS]
        .reshape(height, width)
        > _OPAQUE
    )


class _Bits:
    """Bits that are read from front to back."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self._bits = np.unpackbits(data)
        self._bytes = data.tobytes()
        self._at = 0

    def pixels(self, count: int) -> NDArray[np.uint8]:
        stated = self._number(32)
        if stated != count:
            raise DataError(f"a brush mask has {stated} values, its picture {count}")
        word = self._number(5) + 1
        if word != _WORD:
            raise DataError(f"a brush mask has values of {word} bits, not of {_WORD}")
        sizes = [self._number(4) + 1 for _ in range(4)]
        out = np.zeros(count, dtype=np.uint8)
        at = 0
        while at < count:
            is_run = self._number(1)
            length = self._number(sizes[self._number(2)]) + 1
            if at + length > count:
                raise DataError(f"a brush mask has more values than its picture, {count}")
            out[at : at + length] = self._number(_WORD) if is_run else self._values(length)
            at += length
        return out

    def _number(self, width: int) -> int:
        first, end = self._at, self._at + width
        if end > len(self._bits):
            raise DataError("a brush mask is cut off")
        self._at = end
        last = -(-end // 8)
        value = int.from_bytes(self._bytes[first // 8 : last], "big")
        return value >> (last * 8 - end) & ((1 << width) - 1)

    def _values(self, length: int) -> NDArray[np.uint8]:
        end = self._at + length * _WORD
        if end > len(self._bits):
            raise DataError("a brush mask is cut off")
        values = np.packbits(self._bits[self._at : end])
        self._at = end
        return values

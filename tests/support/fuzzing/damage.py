"""Damage that knows nothing of a format: bytes and blocks."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

Damage = Callable[[bytearray, Random], None]
"""Changes bytes in place; they may be none."""

INTEGERS = (
    0, 1, 2, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 511, 512, 513, 1000, 1024, 4095,
    4096, 8192, 16384, 16385, 32767, 32768, 60000, 65535, 65536, 1 << 20, (1 << 24) - 1, 1 << 26,
    1 << 28, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 53, 1 << 62, (1 << 63) - 1,
    1 << 63, (1 << 64) - 1,
)  # fmt: skip
"""Around powers of two, formats' blocks, and the limits of the schema."""

MOST_BYTES = 1 << 17
"""Of a mutant: what is doubled again and again would only take time."""


def flip_bit(data: bytearray, random: Random) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def set_byte(data: bytearray, random: Random) -> None:
    if data:
        data[random.randrange(len(data))] = random.choice((0, 1, 10, 32, 48, 127, 128, 254, 255))


def set_integer(data: bytearray, random: Random) -> None:
    width = random.choice((1, 2, 4, 8))
    if len(data) < width:
        return
    value = random.choice(INTEGERS) & ((1 << 8 * width) - 1)
    place = random.randrange(len(data) - width + 1)
    data[place : place + width] = value.to_bytes(width, random.choice(("big", "little")))


def set_float(data: bytearray, random: Random) -> None:
    form = random.choice(("<e", "<f", "<d"))
    width = struct.calcsize(form)
    if len(data) < width:
        return
    place = random.randrange(len(data) - width + 1)
    value = random.choice((float("nan"), float("inf"), -float("inf"), -0.0, 6e4, 5e-324))
    data[place : place + width] = struct.pack(form, value)


def insert_bytes(data: bytearray, random: Random) -> None:
    place = random.randrange(len(data) + 1)
    data[place:place] = random.randbytes(random.randint(1, 16))


def insert_run(data: bytearray, random: Random) -> None:
    place = random.randrange(len(data) + 1)
    data[place:place] = bytes([random.choice((0, 32, 48, 91, 123, 255))]) * random.choice(
        (1, 100, 512, 4096)
    )


def delete_block(data: bytearray, random: Random) -> None:
    start, stop = _span(data, random)
    del data[start:stop]


def double_block(data: bytearray, random: Random) -> None:
    start, stop = _span(data, random)
    data[stop:stop] = data[start:stop]


def swap_blocks(data: bytearray, random: Random) -> None:
    start, stop = _span(data, random)
    length = stop - start
    other = random.randrange(len(data) + 1 - length)
    data[start:stop], data[other : other + length] = (
        data[other : other + length],
        data[start:stop],
    )


def zero_block(data: bytearray, random: Random) -> None:
    start, stop = _span(data, random)
    data[start:stop] = bytes(stop - start)


def cut_off(data: bytearray, random: Random) -> None:
    del data[random.randrange(len(data) + 1) :]


ANYWHERE: tuple[Damage, ...] = (
    flip_bit, flip_bit, set_byte, set_integer, set_integer, set_float, insert_bytes, insert_run,
    delete_block, double_block, swap_blocks, zero_block, cut_off,
)  # fmt: skip


def damage_bytes(data: bytes, random: Random, *, times: int | None = None) -> bytes:
    """One to four changes at random places."""
    changed = bytearray(data)
    for _ in range(times or random.choice((1, 1, 1, 2, 4))):
        random.choice(ANYWHERE)(changed, random)
    return bytes(changed[:MOST_BYTES])


def splice(data: bytes, other: bytes, random: Random) -> bytes:
    """The head of one file and the tail of another."""
    tail = random.randrange(len(other) + 1)
    return (data[: random.randrange(len(data) + 1)] + other[tail:])[:MOST_BYTES]


def _span(data: bytearray, random: Random) -> tuple[int, int]:
    """Start and stop of a block, short more often than long."""
    start = random.randrange(len(data) + 1)
    length = random.choice((1, 2, 4, 16, 100, 512, len(data) // 3))
    return start, min(start + length, len(data))

"""Damage where a format hurts: behind the checks that random bytes do not get past.

Each function takes good bytes and gives damaged ones; checksums of headers and chunks are mended,
as somebody would who means harm.
"""

from __future__ import annotations

import copy
import io
import json
import re
import struct
import tarfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

from support.fuzzing.damage import INTEGERS, damage_bytes

_TEXTS = (
    "", " ", "x", "crop", "edit", "face", "flexible", "ref00", "../x", "/etc/passwd", "a/b", "a\0b",
    "x[/blue]", "\x1b[2J", "\u202e", "\ud800", "é", "NaN", "target.jpg", "ref00.mask.png",
    "encoded.safetensors", "x.tar", "-x", "~", "s3://x/y", "a" * 300, "a" * 10_001,
)  # fmt: skip
_NUMBERS: tuple[float, ...] = (
    *INTEGERS, -1, -2, -(1 << 31), -(1 << 63), 10**400, 0.5, 1.0, -0.1, 1.1, 1e308, 5e-324,
    float("nan"), float("inf"), -float("inf"),
)  # fmt: skip
_PLAIN: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [None],
    [[]],
    {"": {}},
    [0, 0, 0, 0],
    [0, 0, 1, 1],
)


def damage_json(data: bytes, random: Random) -> bytes:
    """Values, keys and lists of a JSON text exchanged; now and then its text itself."""
    if random.random() < 0.25:
        return damage_bytes(data, random)
    value = json.loads(data)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        value = damage_value(value, random)
    text = json.dumps(value)
    if random.random() < 0.03:
        return _nest(text, random)
    return text.encode()


def _nest(text: str, random: Random) -> bytes:
    """Far deeper than anybody needs, in place of some value."""
    depth = random.choice((100, 1_000, 10_000))
    opening, closing = random.choice((("[", "]"), ('{"a":', "}")))
    deep = opening * depth + "0" + closing * random.choice((depth, 0))
    places = [one.end() for one in re.finditer('": ', text)] or [0]
    place = random.choice(places)
    return (text[:place] + deep + ", " + text[place:]).encode()


def damage_value(value: Any, random: Random) -> Any:
    """A JSON value with one thing in it changed, in its place."""
    root = {"": value}
    places: list[tuple[Any, Any]] = []
    _collect(root, places)
    holder, key = random.choice(places)
    old = holder[key]
    match random.randrange(8):
        case 0 | 1:
            holder[key] = _other_of_its_kind(old, random)
        case 2:
            holder[key] = random.choice((*_PLAIN, *_TEXTS, *_NUMBERS))
        case 3 if holder is not root:
            del holder[key]
        case 4 if isinstance(old, list) and old:
            old.extend(copy.deepcopy(random.choice(old)) for _ in range(random.choice((1, 2, 30))))
        case 5 if isinstance(old, list) and old:
            random.shuffle(old)
        case 6:
            other, its_key = random.choice(places)
            holder[key] = copy.deepcopy(other[its_key])
        case _ if isinstance(holder, dict) and holder is not root:
            holder[random.choice(_TEXTS)] = old
        case _:
            holder[key] = _other_of_its_kind(old, random)
    return root.get("")


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            _collect(value[key], places)


def _other_of_its_kind(old: Any, random: Random) -> Any:
    if isinstance(old, str):
        if old.isascii() and random.random() < 0.5:
            return damage_bytes(old.encode(), random).decode("latin-1")
        return random.choice(_TEXTS)
    if isinstance(old, int | float) and random.random() < 0.5:
        return old + random.choice((-1, 1, 2, -100, 100))
    return random.choice(_NUMBERS)


_FIELDS: dict[str, tuple[int, int]] = {
    "name": (0, 100), "mode": (100, 8), "size": (124, 12), "time": (136, 12), "type": (156, 1),
    "link": (157, 100), "magic": (257, 8), "owner": (265, 32), "prefix": (345, 155),
}  # fmt: skip
_NAMES = (
    b"", b"/etc/x.json", b"../x.json", b"a/b.json", b".json", b"basic-00000000", b"\xff\xfe.json",
    b"basic-00000000.json", b"basic-00000000.target.jpg", b"\x1b[2J.json", b"x.y.z.w", b"a" * 100,
    b"basic-00000000.features.npy", b"basic-00000001.json", b"././@PaxHeader", b"././@LongLink",
)  # fmt: skip
_SIZES = (
    b"00000000000\0", b"00000000001\0", b"00000000777\0", b"77777777777\0", b"77777777777 ",
    b"-0000000001\0", b"           \0", b"99999999999\0", b"\xff" * 12,
    b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7, b"\x80" + bytes(11), b"\x80" + bytes(10) + b"\x10",
)  # fmt: skip


def damage_tar(data: bytes, random: Random) -> bytes:
    """Headers changed, with a checksum that agrees; members moved, doubled, swapped, lost."""
    if random.random() < 0.2:
        return damage_bytes(data, random)
    blocks = split_tar(data)
    end = blocks.pop()
    for _ in range(random.choice((1, 1, 2, 3))):
        if blocks:
            _damage_members(blocks, random)
    if random.random() < 0.05:
        end = random.choice((b"", bytes(512), end + b"x", end + data[:512]))
    return b"".join(blocks) + end


def split_tar(data: bytes) -> list[bytes]:
    """Header and data of each member of a good tar, and the end of the archive."""
    pieces, place = [], 0
    while data[place : place + 512].strip(b"\0"):
        size = int(data[place + 124 : place + 135], 8)
        stop = place + 512 - (-size // 512) * 512
        pieces.append(data[place:stop])
        place = stop
    return [*pieces, data[place:]]


def _damage_members(blocks: list[bytes], random: Random) -> None:
    number = random.randrange(len(blocks))
    member = blocks[number]
    match random.randrange(9):
        case 0:
            del blocks[number]
        case 1:
            blocks.insert(random.randrange(len(blocks) + 1), member)
        case 2:
            other = random.randrange(len(blocks))
            blocks[number], blocks[other] = blocks[other], member
        case 3:
            blocks[number] = member[:512] + damage_bytes(member[512:], random)
        case 4:
            blocks.insert(number, random.choice((bytes(512), b"x" * 512, b"x", member[:100])))
        case _:
            blocks[number] = _damage_header(member, random)


def _damage_header(member: bytes, random: Random) -> bytes:
    header = bytearray(member[:512])
    field = random.choice(("name", "size", "type", *_FIELDS))
    start, length = _FIELDS[field]
    match field:
        case "name" | "link" | "prefix":
            new = random.choice(
                (*_NAMES, damage_bytes(bytes(header[start : start + length]), random))
            )
        case "size":
            new = random.choice((*_SIZES, b"%011o\0" % random.choice(INTEGERS[:34])))
        case "type":
            new = random.choice([b"%c" % one for one in b"\x001234567xgLKSDMNV\xff"])
        case _:
            new = random.randbytes(length)
    header[start : start + length] = new[:length].ljust(length, b"\0")
    return mend_checksum(bytes(header)) + member[512:]


def mend_checksum(header: bytes) -> bytes:
    blank = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(blank) + header[156:]


def damage_jpeg(data: bytes, random: Random) -> bytes:
    """Segments: lengths, sizes, tables, markers, and ones that do not belong there."""
    if random.random() < 0.3:
        return damage_bytes(data, random)
    segments = _split_jpeg(data)
    number = random.randrange(1, max(len(segments) - 1, 2))
    segment = bytearray(segments[number])
    match random.randrange(6):
        case 0:
            segment[2:4] = struct.pack(">H", random.choice((0, 1, 2, 3, 8, 0x7FFF, 0xFFFF)))
            segments[number] = bytes(segment)
        case 1:
            segments[number] = bytes(segment[:4]) + damage_bytes(bytes(segment[4:]), random)
        case 2:
            del segments[number]
        case 3:
            segments.insert(random.randrange(1, len(segments)), bytes(segment))
        case 4:
            segments.insert(random.randrange(1, len(segments)), _odd_segment(random))
        case _:
            for place, one in enumerate(segments):
                if one[:2] in (b"\xff\xc0", b"\xff\xc2") and len(one) > 8:
                    sides = (random.choice(INTEGERS[:28]) & 0xFFFF for _ in range(2))
                    segments[place] = one[:5] + struct.pack(">HH", *sides) + one[9:]
    return b"".join(segments)


def _split_jpeg(data: bytes) -> list[bytes]:
    """Segments of a good JPEG; the last begins with its first scan."""
    segments, place = [data[:2]], 2
    while data[place : place + 1] == b"\xff" and data[place + 1] != 0xDA:
        stop = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        segments.append(data[place:stop])
        place = stop
    return [*segments, data[place:]]


def _odd_segment(random: Random) -> bytes:
    content = random.choice(
        (
            b"Exif\0\0MM\0*\0\0\0\x08" + random.randbytes(30),
            b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0",
            b"ICC_PROFILE\0\x01\x02" + random.randbytes(40),
            b"ICC_PROFILE\0\x01\x01" + bytes(128),
            b"Adobe\0\x64\0\0\0\0\x02",
            b"MPF\0II*\0\x08\0\0\0" + random.randbytes(40),
            b"JFIF\0\x01\x02\x01\0\0\0\0\xff\xff",
            b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation='6'/>",
            random.randbytes(20),
        )
    )
    marker = random.choice((0xE0, 0xE1, 0xE2, 0xEE, 0xFE, 0xC4, 0xDB, 0xDD, 0xD8, 0xD9, 0xC9))
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def damage_png(data: bytes, random: Random) -> bytes:
    """Chunks, with a CRC that agrees."""
    if random.random() < 0.3:
        return damage_bytes(data, random)
    chunks = _split_png(data)
    number = random.randrange(len(chunks))
    kind, content = chunks[number]
    match random.randrange(7):
        case 0:
            chunks[number] = (kind, damage_bytes(content, random))
        case 1:
            del chunks[number]
        case 2:
            chunks.insert(random.randrange(len(chunks) + 1), (kind, content))
        case 3:
            chunks.insert(random.randrange(len(chunks) + 1), _odd_chunk(random))
        case 4 if chunks[0][0] == b"IHDR":
            sides = (random.choice(INTEGERS[:38]) & 0xFFFFFFFF for _ in range(2))
            chunks[0] = (b"IHDR", struct.pack(">II", *sides) + chunks[0][1][8:])
        case 5 if chunks[0][0] == b"IHDR":
            form = bytes(random.choice((0, 1, 2, 3, 4, 6, 8, 16, 255)) for _ in range(5))
            chunks[0] = (b"IHDR", chunks[0][1][:8] + form)
        case _:
            for place, (one, packed) in enumerate(chunks):
                if one == b"IDAT":
                    pixels = zlib.decompressobj().decompress(packed, 1 << 16)
                    chunks[place] = (one, zlib.compress(damage_bytes(pixels, random)))
    return data[:8] + b"".join(map(_chunk, *zip(*chunks, strict=True))) if chunks else data[:8]


def _split_png(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, place = [], 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


_BOMB = zlib.compress(bytes(1 << 24), 9)


def _odd_chunk(random: Random) -> tuple[bytes, bytes]:
    return random.choice(
        (
            (b"iCCP", b"x\0\0" + _BOMB),
            (b"iCCP", b"x\0\0" + zlib.compress(random.randbytes(200))),
            (b"zTXt", b"x\0\0" + _BOMB),
            (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + _BOMB),
            (b"tRNS", random.randbytes(random.choice((1, 2, 6, 256)))),
            (b"PLTE", random.randbytes(random.choice((0, 1, 3, 768)))),
            (b"gAMA", struct.pack(">I", random.choice(INTEGERS) & 0xFFFFFFFF)),
            (b"cHRM", random.randbytes(32)),
            (b"eXIf", b"MM\0*\0\0\0\x08" + random.randbytes(20)),
            (b"acTL", struct.pack(">II", random.choice((0, 1, 2, 1 << 31)), 0)),
            (b"fcTL", random.randbytes(26)),
            (b"IEND", b""),
            (random.randbytes(4), random.randbytes(8)),
        )
    )


_SHAPES = (
    b"(512,)", b"(0,)", b"()", b"(-1,)", b"(999999999999,)", b"(999999,)", b"(2, 2)", b"(1e9,)",
    b"(" * 200, b"__import__('os').abort()", b"(10**9,)", b"(1,)*10**9", b"(True,)", b"(\xff,)",
)  # fmt: skip
_TYPES = (b"<f2", b">f2", b"<f4", b"|O", b"<i8", b"|V9999", b"<U1", b"|S0", b"<M8[ns]", b"x")


def damage_npy(data: bytes, random: Random) -> bytes:
    """Shape and type in the header, its length, its version."""
    match random.randrange(5):
        case 0:
            return re.sub(rb"\([0-9]+,\)", lambda _: random.choice(_SHAPES), data, count=1)
        case 1:
            return data.replace(b"<f2", random.choice(_TYPES), 1)
        case 2:
            return data[:6] + random.randbytes(4) + data[10:]
        case 3:
            return data[:6] + b"\x02\x00" + struct.pack("<I", random.choice(INTEGERS[:34])) + data
        case _:
            return damage_bytes(data, random)


def damage_safetensors(data: bytes, random: Random) -> bytes:
    """Shapes, types, offsets, and the header that imig stores in the file's metadata."""
    if random.random() < 0.2:
        return damage_bytes(data, random)
    length = int.from_bytes(data[:8], "little")
    header, values = json.loads(data[8 : 8 + length]), data[8 + length :]
    if random.random() < 0.5:
        own = damage_json(header["__metadata__"]["imig"].encode(), random)
        header["__metadata__"]["imig"] = own.decode("latin-1")
    elif random.random() < 0.5:
        names = [one for one in header if one != "__metadata__"]
        name, other = random.choice(names), random.choice(names)
        field = random.choice(("dtype", "shape", "data_offsets"))
        header[name][field] = random.choice(
            (
                header[other][field],
                [*reversed(header[name]["shape"])],
                [1, *header[name]["shape"]],
                random.choice(("F16", "BF16", "F64", "BOOL", "I8", "F8_E4M3", "C64", "U64", "x")),
                damage_value(copy.deepcopy(header[name][field]), random),
            )
        )
    elif random.random() < 0.5:
        values = damage_bytes(values, random)
        values = values[: len(data) - 8 - length].ljust(len(data) - 8 - length, b"\0")
    else:
        header = damage_value(header, random)
    text = json.dumps(header).encode()
    stated = random.choice(INTEGERS) if random.random() < 0.05 else len(text)
    return struct.pack("<Q", stated & ((1 << 64) - 1)) + text + values


def damage_parquet(data: bytes, random: Random) -> bytes:
    """Its footer, where types and places are; its pages; its cells."""
    match random.randrange(4):
        case 0:
            return damage_bytes(data, random)
        case 1:
            length = int.from_bytes(data[-8:-4], "little")
            footer = damage_bytes(data[-8 - length : -8], random)
            return data[: -8 - length] + footer + struct.pack("<I", len(footer)) + b"PAR1"
        case 2:
            return data[:-8] + struct.pack("<I", random.choice(INTEGERS) & 0xFFFFFFFF) + data[-4:]
        case _:
            return _damage_cells(data, random)


def _damage_cells(data: bytes, random: Random) -> bytes:
    """Values of rows, in the types of the table; where they do not fit, in types of their own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(data))
    column = random.choice(table.column_names)
    rows = table.select([column]).to_pylist()
    changed = [damage_value(row[column], random) for row in rows]
    wanted = table.schema.field(column).type
    try:
        values = pa.array(changed, type=wanted if random.random() < 0.7 else None)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        values = pa.nulls(len(changed), wanted)
    table = table.set_column(table.column_names.index(column), column, values)
    if random.random() < 0.1:
        table = table.slice(0, random.randrange(len(table) + 1))
    if random.random() < 0.1:
        table = pa.concat_tables([table, table])
    out = io.BytesIO()
    try:
        pq.write_table(table, out, compression=random.choice(("none", "snappy", "zstd")))
    except (pa.ArrowException, OSError):
        return damage_bytes(data, random)  # an empty struct, which Parquet does not have
    return out.getvalue()


def damage_runs(data: bytes, random: Random) -> bytes:
    """A mask's size and run lengths."""
    mask = json.loads(data)
    counts = bytearray(mask["counts"].encode())
    match random.randrange(6):
        case 0:
            mask["size"][random.randrange(2)] = random.choice(INTEGERS[:26])
        case 1 | 2:
            place = random.randrange(len(counts) + 1)
            counts[place:place] = bytes(
                random.randint(48, 111) for _ in range(random.choice((1, 1, 2, 9, 20)))
            )
        case 3 if counts:
            counts[random.randrange(len(counts))] = random.randint(40, 120)
        case 4:
            counts = bytearray(random.randint(48, 111) for _ in range(random.randrange(12)))
        case _:
            counts = bytearray(damage_bytes(bytes(counts), random))
    return json.dumps({**mask, "counts": counts.decode("latin-1")}).encode()


def whole_blocks(data: bytes) -> bytes:
    """Padded as a member of a tar is."""
    return data + bytes(-len(data) % tarfile.BLOCKSIZE)


FORMATS: dict[str, Callable[[bytes, Random], bytes]] = {
    "json": damage_json,
    "tar": damage_tar,
    "jpeg": damage_jpeg,
    "png": damage_png,
    "npy": damage_npy,
    "safetensors": damage_safetensors,
    "parquet": damage_parquet,
    "runs": damage_runs,
}

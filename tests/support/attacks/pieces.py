"""Bytes that hurt: pictures, JSON, names."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from PIL import Image

SIZE: Final = (96, 64)
"""(width, height), as pictures of the good dataset."""


def picture(
    mode: str = "RGB", *, kind: str = "JPEG", size: tuple[int, int] = SIZE, **how: Any
) -> bytes:
    """A picture that is not all of one value."""
    image = Image.linear_gradient("L").resize(size).convert("RGB").convert(mode)
    data = io.BytesIO()
    image.save(data, kind, **how)
    return data.getvalue()


def _sixteen_bits() -> bytes:
    data = io.BytesIO()
    values = np.linspace(0, 65535, SIZE[0] * SIZE[1]).astype(np.uint16).reshape(SIZE[::-1])
    Image.fromarray(values).save(data, "PNG")
    return data.getvalue()


def _turned() -> bytes:
    """Stored lying, seen upright as 96 x 64."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(size=SIZE[::-1], exif=exif)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A PNG of a few bytes that says to have so many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", head)
        + png_chunk(b"IDAT", pixels)
        + png_chunk(b"IEND", b"")
    )


def text_bomb() -> bytes:
    """A sound PNG whose compressed text unpacks to 30 MB."""
    whole = picture(kind="PNG")
    text = png_chunk(b"zTXt", b"imig\0\0" + zlib.compress(b"\0" * 30_000_000, 9))
    return whole[:33] + text + whole[33:]


def deep_text() -> bytes:
    """A sound PNG whose record of how it was drawn is 100,000 brackets."""
    whole = picture(kind="PNG")
    return whole[:33] + png_chunk(b"tEXt", b"imig\0" + b"[" * 100_000) + whole[33:]


WHOLE: Final = picture()
DAMAGED: Final[dict[str, Callable[[], bytes]]] = {
    "zero-bytes": lambda: b"",
    "one-byte": lambda: b"\xff",
    "cut-off": lambda: WHOLE[: len(WHOLE) // 2],
    "head-alone": lambda: WHOLE[:30],
    "text": lambda: b"this is no picture\n",
    "zeros": lambda: bytes(5000),
    "html": lambda: b"<!DOCTYPE html><html><body>404</body></html>",
    "svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="96" height="64"/>',
    "postscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 64\n(x) run\n",
    "bomb": bomb,
    "bomb-of-two-billion-a-side": lambda: bomb(2**31 - 1, 2**31 - 1),
    "no-pixels": lambda: bomb(0, 0),
    "pixels-cut-off": lambda: picture(kind="PNG", size=(640, 480))[:600],
}
"""What no picture can be made of."""
ODD: Final[dict[str, Callable[[], bytes]]] = {
    "png-under-another-name": lambda: picture(kind="PNG"),
    "webp-under-another-name": lambda: picture(kind="WEBP", lossless=True),
    "gif-under-another-name": lambda: picture("P", kind="GIF"),
    "tiff-under-another-name": lambda: picture(kind="TIFF"),
    "16-bits": _sixteen_bits,
    "cmyk": lambda: picture("CMYK"),
    "grey": lambda: picture("L"),
    "one-bit": lambda: picture("1", kind="PNG"),
    "palette": lambda: picture("P", kind="PNG"),
    "grey-and-alpha": lambda: picture("LA", kind="PNG"),
    "turned-by-exif": _turned,
    "progressive": lambda: picture(progressive=True),
    "more-behind-its-end": lambda: WHOLE + b"PK\x03\x04" + bytes(3000),
    "text-that-unpacks-to-30-mb": text_bomb,
    "record-of-100000-brackets": deep_text,
}
"""Pictures all the same, of 96 x 64 pixels."""


def json_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


BROKEN_JSON: Final[dict[str, Callable[[bytes], bytes]]] = {
    "empty": lambda data: b"",
    "cut-off": lambda data: data[: len(data) * 2 // 3],
    "noise": lambda data: bytes(range(256)) * 8,
    "zeros": lambda data: bytes(4096),
    "null": lambda data: b"null",
    "number": lambda data: b"17",
    "text": lambda data: b'"text"',
    "true": lambda data: b"true",
    "empty-list": lambda data: b"[]",
    "empty-object": lambda data: b"{}",
    "list-of-numbers": lambda data: b"[1, 2, 3]",
    "list-of-nulls": lambda data: b"[null, null]",
    "list-of-empty-objects": lambda data: b"[{}, {}]",
    "a-million-brackets": lambda data: b"[" * 1_000_000,
    "a-million-objects": lambda data: b'{"a":' * 1_000_000,
    "a-number-of-a-million-digits": lambda data: b"[" + b"9" * 1_000_000 + b"]",
    "two-values": lambda data: data + b"\n" + data,
    "nan": lambda data: b"[NaN, Infinity]",
}
"""Files that are not what they should be."""
ODD_JSON: Final[dict[str, Callable[[bytes], bytes]]] = {
    "byte-order-mark": lambda data: b"\xef\xbb\xbf" + data,
    "line-ends-of-windows": lambda data: data.replace(b"\n", b"\r\n"),
    "blanks-around": lambda data: b"\n\n " + data + b"\n\n\t \n",
}
"""Good files all the same."""

BOXES: Final = {
    "inverted": [0.9, 0.9, 0.1, 0.1],
    "no area": [0.5, 0.5, 0.5, 0.9],
    "outside": [5, 5, 9, 9],
    "negative": [-3, -3, 0.5, 0.5],
    "nan": [float("nan"), 0, 1, 1],
    "endless": [0, 0, float("inf"), 1],
    "huge": [0, 0, 10**400, 1],
    "texts": ["0", "0", "1", "1"],
    "three numbers": [0, 0, 1],
    "text": "[0, 0, 1, 1]",
    "null": None,
    "booleans": [False, False, True, True],
    "objects": [{}, {}, {}, {}],
    "a thousand lists deep": None,
}
_deep: Any = 0.5
for _ in range(900):
    _deep = [_deep]
BOXES["a thousand lists deep"] = _deep
TEXTS: Final = {
    "empty": "",
    "number": 17,
    "list": ["a red mug"],
    "null": None,
    "10 mb": "a red " + "m" * 10_000_000,
    "half a character": "a red \ud800",
    "zero byte": "a red \0",
    "paints": "a red \x1b[31mmug\x07\u202e\n",
    "markup": "a red [bold]mug[/nope] <script>",
}
NAMES: Final = {
    "absolute": "/etc/passwd",
    "out": "../../../etc/passwd",
    "out in the middle": "object/../../../x.jpg",
    "dots": "..",
    "dot": ".",
    "empty": "",
    "zero byte": "a\0b.jpg",
    "half a character": "\ud800.jpg",
    "5000 characters": "x" * 5000,
    "a folder": "object",
    "newline": "a\nb.jpg",
    "number": 3,
    "null": None,
    "list": ["a.jpg"],
}
NUMBERS: Final = {
    "negative": -1,
    "huge": 10**30,
    "half": 0.5,
    "nan": float("nan"),
    "text": "7",
    "null": None,
    "true": True,
    "list": [7],
    "path": "../x",
}

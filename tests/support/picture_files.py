"""Picture files with damaged or exotic metadata, put together by hand."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

SIZE = (48, 32)


def gradient() -> Image.Image:
    """White at the top left, so that one sees how a picture lies."""
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    pixels = np.stack([x * 5, y * 7, 255 - x - y], axis=-1).astype(np.uint8)
    pixels[:8, :8] = 255
    return Image.fromarray(pixels)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def same_pixels(first: Image.Image, second: Image.Image) -> bool:
    return np.array_equal(np.asarray(first), np.asarray(second))


def chunk(type_: bytes, data: bytes, *, checksum: int = 0) -> bytes:
    """A PNG chunk; `checksum` is what its CRC is off by."""
    crc = (zlib.crc32(type_ + data) + checksum) & 0xFFFFFFFF
    return struct.pack(">I", len(data)) + type_ + data + struct.pack(">I", crc)


def png(*chunks: bytes, image: Image.Image | None = None, at_end: bool = False) -> bytes:
    """A PNG with chunks after IHDR, or before IEND."""
    data = saved(image or gradient(), "PNG")
    place = len(data) - 12 if at_end else 33
    return data[:place] + b"".join(chunks) + data[place:]


def segment(marker: int, payload: bytes, *, length: int | None = None) -> bytes:
    """A JPEG segment; `length` is what it says instead of its own."""
    stated = len(payload) + 2 if length is None else length
    return struct.pack(">BBH", 0xFF, marker, stated) + payload


def jpeg(*segments: bytes, image: Image.Image | None = None) -> bytes:
    """A JPEG with segments after its start, before JFIF's."""
    data = saved(image or gradient(), "JPEG", quality=95, subsampling=0)
    return data[:2] + b"".join(segments) + data[2:]


def exif(
    *entries: tuple[int, int, int, bytes], order: str = "<", count: int | None = None
) -> bytes:
    """``Exif\\0\\0`` and one directory of (tag, type, count, four bytes)."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    body = b"".join(struct.pack(f"{order}HHI", *one[:3]) + one[3] for one in entries)
    stated = len(entries) if count is None else count
    head = struct.pack(f"{order}IH", 8, stated)
    return b"Exif\0\0" + mark + head + body + bytes(4)


def orientation(value: int, *, order: str = "<") -> tuple[int, int, int, bytes]:
    return (0x0112, 3, 1, struct.pack(f"{order}H", value) + bytes(2))


def riff(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP with chunks at its end that its header does not announce."""
    extra = b"".join(
        type_ + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
        for type_, content in chunks
    )
    return data[:4] + struct.pack("<I", len(data) - 8 + len(extra)) + data[8:] + extra


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

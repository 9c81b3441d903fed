"""Whatever stands beside sound pixels in a file, the pixels are used, and they are the same."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from PIL import Image
from support.picture_files import (
    chunk,
    exif,
    gradient,
    jpeg,
    orientation,
    png,
    riff,
    same_pixels,
    saved,
    segment,
)

from imig.pictures import PictureError, open_picture
from imig.pictures.orientation import read_exif_orientation, turn_upright
from imig.sample import decode_image
from imig.stages.pictures import bytes_to_target

pytestmark = pytest.mark.filterwarnings("ignore")

PLAIN = gradient()
JPEG_PLAIN = Image.open(io.BytesIO(jpeg())).convert("RGB")
WEBP = saved(PLAIN, "WEBP", lossless=True)
JPEG_TAIL = jpeg()[2:]

ORIENTATION = exif(orientation(6), (0x010F, 2, 4, b"abc\0"), (0x011A, 5, 1, b"\x32\0\0\0"))
AFTER_ORIENTATION = 6 + 8 + 2 + 12
ANCILLARY = st.sampled_from(
    [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"pHYs", b"tIME",
     b"bKGD", b"hIST", b"sBIT", b"sPLT", b"acTL", b"fcTL", b"fdAT", b"prVt", b"mDCV"]
)  # fmt: skip
TEXTS = st.sampled_from([b"", b"key\0", b"key\0\0", b"XML:com.adobe.xmp\0\1\0\0\0", b"exif\0",
                         b"Raw profile type exif\0"])  # fmt: skip
HEADS = st.sampled_from(
    [b"", b"Exif\0\0", b"Exif\0\0II*\0", b"ICC_PROFILE\0", b"ICC_PROFILE\0\1\1", b"MPF\0",
     b"MPF\0II*\0\x08\0\0\0", b"Photoshop 3.0\x008BIM", b"http://ns.adobe.com/xap/1.0/\0",
     b"FPXR\0", b"JFXX\0"]
)  # fmt: skip


def same_in_some_position(found: Image.Image, plain: Image.Image) -> bool:
    return any(same_pixels(found, turn_upright(plain, turned)) for turned in range(1, 9))


@given(
    st.lists(st.tuples(st.integers(AFTER_ORIENTATION, len(ORIENTATION) - 1), st.integers(0, 255)))
)
@example([(AFTER_ORIENTATION + 3, 77)])
def test_orientation_stands_whatever_else_exif_says(changes: list[tuple[int, int]]) -> None:
    block = bytearray(ORIENTATION)
    for place, value in changes:
        block[place] = value
    for data, plain in (
        (jpeg(segment(0xE1, bytes(block))), JPEG_PLAIN),
        (png(chunk(b"eXIf", bytes(block[6:]))), PLAIN),
    ):
        assert same_pixels(open_picture(data).image, turn_upright(plain, 6))


@given(st.binary(max_size=80), st.booleans())
@example(b"Exif\0\0II*\0\xff\xff\xff\xff", True)
def test_exif_of_any_bytes(block: bytes, with_head: bool) -> None:
    read_exif_orientation(block)
    payload = (b"Exif\0\0" if with_head else b"") + block
    assert same_in_some_position(open_picture(jpeg(segment(0xE1, payload))).image, JPEG_PLAIN)
    assert same_in_some_position(open_picture(png(chunk(b"eXIf", block))).image, PLAIN)
    assert same_in_some_position(open_picture(riff(WEBP, (b"EXIF", block))).image, PLAIN)


@given(ANCILLARY, TEXTS, st.binary(max_size=60), st.integers(0, 2), st.booleans())
def test_ancillary_chunks_of_any_bytes(
    type_: bytes, head: bytes, content: bytes, checksum: int, at_end: bool
) -> None:
    data = png(chunk(type_, head + content, checksum=checksum), at_end=at_end)
    picture = open_picture(data)
    assert same_in_some_position(picture.image, PLAIN)
    assert picture.to_rgb().size == picture.image.size


@given(st.integers(0, 0xFFFFFFFF), ANCILLARY)
@example(16, b"tEXt")  # ends before four letters
@example(110, b"tEXt")  # ends before IEND, behind the pixels
@example(122, b"tEXt")  # ends with the file
def test_ancillary_chunks_of_any_length(length: int, type_: bytes) -> None:
    broken = struct.pack(">I", length) + chunk(type_, b"key\0\0 a few words")[4:]
    assert same_in_some_position(open_picture(png(broken)).image, PLAIN)


@given(st.integers(0xE0, 0xEF) | st.just(0xFE), HEADS, st.binary(max_size=60))
def test_segments_of_any_bytes(marker: int, head: bytes, content: bytes) -> None:
    data = jpeg(segment(marker, head + content))
    assert same_in_some_position(open_picture(data).image, JPEG_PLAIN)
    target = bytes_to_target(data, min_side=8, max_side=512, max_pixels=10**6)
    decode_image(target.data)
    with Image.open(io.BytesIO(target.data)) as stored:
        stored.load()


@given(st.integers(0xE1, 0xED) | st.just(0xFE), HEADS, st.integers(0, 65_535))
def test_segments_that_are_longer_than_the_file_has_them(
    marker: int, head: bytes, more: int
) -> None:
    length = len(head) + 2 + more
    # Where it happens to end at another segment, what it swallows is lost for every reader.
    assume(length <= 65_535 and JPEG_TAIL[more : more + 1] != b"\xff")
    data = jpeg(segment(marker, head, length=length))
    assert same_in_some_position(open_picture(data).image, JPEG_PLAIN)


@given(
    st.lists(
        st.tuples(st.sampled_from([b"EXIF", b"XMP ", b"ICCP", b"abcd"]), st.binary(max_size=40)),
        max_size=4,
    ),
    st.integers(0, 12),
)
def test_chunks_of_a_webp(chunks: list[tuple[bytes, bytes]], lost: int) -> None:
    data = riff(WEBP, *chunks)
    # Never into the pixels, which come first.
    data = data[: max(len(WEBP), len(data) - lost)]
    assert same_in_some_position(open_picture(data).image, PLAIN)


METADATA_TAGS = st.sampled_from(
    [269, 270, 271, 272, 282, 283, 285, 296, 297, 305, 306, 315, 700, 33432, 33723, 34377, 34665,
     34675, 34853, 37724, 50706, 65000]
)  # fmt: skip


@given(
    st.lists(
        st.tuples(
            METADATA_TAGS,
            st.integers(0, 20),
            st.integers(0, 9) | st.integers(0, 0xFFFFFFFF),
            st.binary(min_size=4, max_size=4),
        ),
        max_size=4,
    ),
    st.sampled_from([None, "tiff_lzw"]),
)
def test_tags_of_a_tiff(
    entries: list[tuple[int, int, int, bytes]], compression: str | None
) -> None:
    data = saved(PLAIN, "TIFF", compression=compression)
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    old = [data[start + 2 + 12 * one : start + 14 + 12 * one] for one in range(count)]
    new = [struct.pack("<HHI", *one[:3]) + one[3] for one in entries]
    tags = {struct.unpack_from("<H", one)[0]: one for one in (*old, *new)}
    body = b"".join(one for _, one in sorted(tags.items()))
    directory = struct.pack("<H", len(tags)) + body + bytes(4)
    moved = data[:4] + struct.pack("<I", len(data)) + data[8:] + directory
    assert same_pixels(open_picture(moved).image, PLAIN)


@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000", "BMP"]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 40),
)
def test_any_damage_ends_in_a_picture_or_a_reason(
    format: str, changes: list[tuple[float, int]], lost: int
) -> None:
    data = bytearray(saved(PLAIN, format))
    for place, value in changes:
        data[min(int(place * len(data)), len(data) - 1)] = value
    broken = bytes(data[: len(data) - lost])
    try:
        picture = open_picture(broken, max_pixels=100_000)
        assert picture.to_rgb().mode == "RGB"
        assert picture.to_mask().shape == picture.image.size[::-1]
    except PictureError as error:
        assert error.reason in ("unreadable image", "too many pixels")  # noqa: PT017

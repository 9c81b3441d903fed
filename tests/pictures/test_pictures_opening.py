"""Files whose pixels are sound, and what else is in them is not."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
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
    srgb_profile,
)

from imig.pictures import PictureError, open_picture
from imig.pictures.orientation import turn_upright
from imig.stages.pictures import bytes_to_target

ASCII_RESOLUTION = (0x011A, 2, 4, b"72\0\0")
FAR_AWAY = (0x010F, 2, 400, b"\xff\xff\xff\x7f")
NO_SUCH_TYPE = (0x0131, 77, 1, bytes(4))

METADATA = "damaged metadata left out"
EXIF = "damaged EXIF"
NO_END = "JPEG without its end mark"
PROFILE = "unusable colour profile ignored"
COLOURS = "unusable gAMA, cHRM or cICP ignored"


def text(size: int, kind: bytes = b"zTXt") -> bytes:
    method = b"\0" if kind == b"zTXt" else b"\1\0\0\0"
    return chunk(kind, b"key\0" + method + zlib.compress(bytes(size)))


def bigger_profile() -> bytes:
    return chunk(b"iCCP", b"name\0\0" + zlib.compress(srgb_profile() + bytes(1_500_000)))


def wrong_length(length: int) -> bytes:
    return struct.pack(">I", length) + chunk(b"tEXt", b"key\0a few words")[4:]


def avif_with_broken_exif() -> bytes:
    good = exif((0x010F, 2, 4, b"abc\0"))[6:]
    data = saved(gradient(), "AVIF", exif=good)
    assert data.count(good) == 1
    return data.replace(good, bytes(len(good)))


def tiff(*entries: tuple[int, int, int, bytes]) -> bytes:
    """With entries added to its directory, which moves to the end."""
    data = saved(gradient(), "TIFF")
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    old = data[start + 2 : start + 2 + 12 * count]
    new = b"".join(struct.pack("<HHI", *one[:3]) + one[3] for one in entries)
    directory = struct.pack("<H", count + len(entries)) + new + old + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


def gif(*blocks: bytes) -> bytes:
    data = saved(gradient().convert("P"), "GIF")
    place = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:place] + b"".join(blocks) + data[place:]


def jp2(box: bytes) -> bytes:
    data = saved(gradient(), "JPEG2000", irreversible=False)
    place = data.index(b"jp2h") - 4
    (size,) = struct.unpack_from(">I", data, place)
    header = struct.pack(">I", size + len(box)) + data[place + 4 : place + size] + box
    return data[:place] + header + data[place + size :]


CASES: dict[str, tuple[bytes, int, tuple[str, ...]]] = {
    "jpeg-without-end": (jpeg()[:-2], 1, (NO_END,)),
    "jpeg-with-half-an-end": (jpeg(segment(0xE1, exif(orientation(6))))[:-1], 6, (NO_END,)),
    "exif-turned-and-ascii-resolution": (
        jpeg(segment(0xE1, exif(orientation(6), ASCII_RESOLUTION))), 6, (EXIF,),
    ),
    "exif-upright-and-ascii-resolution": (
        jpeg(segment(0xE1, exif(orientation(1), ASCII_RESOLUTION))), 1, (EXIF,),
    ),
    "exif-value-far-away": (jpeg(segment(0xE1, exif(FAR_AWAY, orientation(8)))), 8, (EXIF,)),
    "exif-unknown-type": (jpeg(segment(0xE1, exif(NO_SUCH_TYPE, orientation(3)))), 3, (EXIF,)),
    "exif-count-too-large": (
        jpeg(segment(0xE1, exif(orientation(5), count=60_000))), 5, (EXIF,),
    ),
    "exif-cut-off": (jpeg(segment(0xE1, exif(orientation(7), FAR_AWAY)[:-14])), 7, (EXIF,)),
    "exif-no-byte-order": (
        jpeg(segment(0xE1, exif(orientation(6)).replace(b"II*", b"XX*"))), 6, (EXIF,),
    ),
    "exif-directory-nowhere": (
        jpeg(segment(0xE1, exif(orientation(6)).replace(b"*\0\x08\0", b"*\0\x08\x77"))), 6, (EXIF,),
    ),
    "exif-orientation-as-long": (
        jpeg(segment(0xE1, exif((0x0112, 4, 1, b"\x06\0\0\0")))), 6, (),
    ),
    "exif-big-endian": (
        jpeg(segment(0xE1, exif(orientation(6, order=">"), order=">"))), 6, (),
    ),
    "exif-orientation-impossible": (jpeg(segment(0xE1, exif(orientation(77)))), 1, ()),
    "exif-garbage": (jpeg(segment(0xE1, b"Exif\0\0garbage, garbage")), 1, (EXIF,)),
    "exif-empty": (jpeg(segment(0xE1, b"Exif\0\0")), 1, (EXIF,)),
    "jpeg-short-jfif": (jpeg(segment(0xE0, b"JFIF\0")), 1, (METADATA,)),
    "jpeg-short-adobe": (jpeg(segment(0xEE, b"Adobe")), 1, (METADATA,)),
    "jpeg-short-profile": (jpeg(segment(0xE2, b"ICC_PROFILE\0")), 1, (METADATA, PROFILE)),
    "jpeg-profile-piece-lost": (jpeg(segment(0xE2, b"ICC_PROFILE\0\1\2ab")), 1, (PROFILE,)),
    "jpeg-photoshop-cut-off": (jpeg(segment(0xED, b"Photoshop 3.0\x008BIM\4")), 1, ()),
    "jpeg-multi-picture-broken": (jpeg(segment(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff")), 1, ()),
    "jpeg-app1-too-long": (
        jpeg(segment(0xE1, exif(orientation(6)), length=333)), 6, (METADATA,),
    ),
    "jpeg-app13-reaches-beyond-the-end": (
        jpeg(segment(0xED, b"Photoshop 3.0\0", length=65_535)), 1, (METADATA,),
    ),
    "jpeg-comment-too-long": (jpeg(segment(0xFE, b"hello", length=500)), 1, (METADATA,)),
    "png-text-of-1.5-mb": (png(text(1_500_000)), 1, (METADATA,)),
    "png-international-text-of-1.5-mb": (png(text(1_500_000, b"iTXt")), 1, (METADATA,)),
    "png-many-texts": (png(*[text(1_000_000)] * 80), 1, (METADATA,)),
    "png-text-of-1.5-mb-at-the-end": (png(text(1_500_000), at_end=True), 1, (METADATA,)),
    "png-profile-above-1-mb": (png(bigger_profile()), 1, (METADATA,)),
    "png-checksum-of-text": (png(chunk(b"tEXt", b"a\0b", checksum=1)), 1, (METADATA,)),
    "png-checksum-of-unknown": (png(chunk(b"prVt", b"a\0b", checksum=1)), 1, (METADATA,)),
    "png-checksum-of-exif": (
        png(chunk(b"eXIf", exif(orientation(6))[6:], checksum=1)), 6, (METADATA,),
    ),
    "png-short-phys": (png(chunk(b"pHYs", b"\1")), 1, (METADATA,)),
    "png-short-gamma": (png(chunk(b"gAMA", b"")), 1, (METADATA,)),
    "png-gamma-of-nothing": (png(chunk(b"gAMA", bytes(4))), 1, (COLOURS,)),
    "png-short-chromaticities": (png(chunk(b"cHRM", b"\1\2\3")), 1, (METADATA,)),
    "png-chromaticities-of-nothing": (png(chunk(b"cHRM", bytes(32))), 1, (COLOURS,)),
    "png-short-srgb": (png(chunk(b"sRGB", b"")), 1, (METADATA,)),
    "png-short-time": (png(chunk(b"tIME", b"\1")), 1, ()),
    "png-short-exif": (png(chunk(b"eXIf", b"I")), 1, (EXIF,)),
    "png-short-transparency": (png(chunk(b"tRNS", b"\0")), 1, (METADATA,)),
    "png-short-animation": (png(chunk(b"acTL", b"\0")), 1, (METADATA,)),
    "png-text-too-long": (png(wrong_length(5_000)), 1, (METADATA,)),
    "png-text-too-short": (png(wrong_length(3)), 1, (METADATA,)),
    "png-text-beyond-the-end": (png(wrong_length(0x7FFFFFFF)), 1, (METADATA,)),
    "png-exif-turned-and-ascii-resolution": (
        png(chunk(b"eXIf", exif(orientation(6), ASCII_RESOLUTION)[6:])), 6, (EXIF,),
    ),
    "png-exif-behind-pixels": (
        png(chunk(b"eXIf", exif(orientation(8))[6:]), at_end=True), 8, (),
    ),
    "webp-broken-metadata": (
        riff(
            saved(gradient(), "WEBP", lossless=True),
            (b"EXIF", b"xx"), (b"XMP ", b"<x"), (b"ICCP", b"zz"),
        ),
        1, (EXIF, PROFILE),
    ),
    "webp-turned-and-ascii-resolution": (
        saved(
            gradient(), "WEBP", lossless=True, exif=exif(orientation(6), ASCII_RESOLUTION)
        ),
        6, (EXIF,),
    ),
    "webp-cut-off-in-exif": (
        saved(gradient(), "WEBP", lossless=True, exif=exif(orientation(6)))[:-3], 6, (METADATA,),
    ),
    "tiff-tags-of-wrong-types": (
        tiff((282, 2, 4, b"72\0\0"), (305, 12, 1, bytes(4)), (296, 2, 1, b"x\0\0\0")), 1, (),
    ),
    "tiff-tags-nowhere": (
        tiff((34665, 4, 1, b"\xff\xff\xff\x7f"), (270, 2, 9_999, b"\xff\xff\xff\x7f")), 1,
        (METADATA,),
    ),
    "tiff-profile-of-wrong-type": (tiff((34675, 3, 1, b"\1\0\0\0")), 1, (PROFILE,)),
    "tiff-turned-and-ascii-resolution": (
        tiff(orientation(6), (282, 2, 4, b"72\0\0")), 6, (),
    ),
    "jp2-short-resolution": (jp2(b"\0\0\0\x0cres \0\0\0\x0a"), 1, (METADATA,)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_sound_pixels_are_used_and_lie_right(name: str) -> None:
    data, turned, oddities = CASES[name]
    picture = open_picture(data)
    found = picture.image.convert("RGB")
    plain = gradient()
    if data.startswith(b"\xff\xd8"):
        plain = Image.open(io.BytesIO(jpeg())).convert("RGB")
    assert same_pixels(found, turn_upright(plain, turned))
    assert picture.oddities == oddities


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("jpeg", "exif"))])
def test_a_jpeg_is_stored_so_that_every_reader_reads_it(name: str) -> None:
    data, turned, _ = CASES[name]
    target = bytes_to_target(data, min_side=8, max_side=512, max_pixels=10**6)
    stored = Image.open(io.BytesIO(target.data))
    assert stored.getexif().get(0x0112, 1) not in range(2, 9)
    if turned == 1:  # not encoded anew
        assert target.data.removesuffix(b"\xff\xd9").endswith(data[-400:].removesuffix(b"\xff\xd9"))
        assert same_pixels(stored, Image.open(io.BytesIO(jpeg())))


def test_broken_exif_of_an_avif() -> None:
    picture = open_picture(avif_with_broken_exif())
    error = np.abs(np.asarray(picture.image, np.int16) - np.asarray(gradient(), np.int16))
    assert error.mean() < 8
    assert picture.oddities == (METADATA,)


@pytest.mark.parametrize(
    "block",
    [b"!\xfe\x05hello\0", b"!\xff\x03abc\x03\1\0\0\0", b"!\x01\x02ab\0", b"!\xfe\0"],
    ids=["comment", "application", "plain-text", "empty-comment"],
)  # fmt: skip
def test_blocks_of_a_gif(block: bytes) -> None:
    assert same_pixels(open_picture(gif(block)).to_rgb(), gradient().convert("P").convert("RGB"))


def test_a_long_comment_does_not_follow_into_the_target() -> None:
    comment = b"!\xfe" + (b"\xff" + b"x" * 255) * 400 + b"\0"
    target = bytes_to_target(gif(comment), min_side=8, max_side=512, max_pixels=10**6)
    assert len(target.data) < 20_000


def test_a_thumbnail_is_not_taken_for_the_picture() -> None:
    thumbnail = jpeg(image=Image.new("RGB", (16, 16), "red"))
    data = jpeg(segment(0xE1, exif(orientation(6)) + thumbnail, length=60_000))
    assert open_picture(data).image.size == (32, 48)


def test_orientation_in_xmp_alone() -> None:
    packet = b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='6' y"
    assert open_picture(jpeg(segment(0xE1, packet))).image.size == (32, 48)
    broken = exif(orientation(3), FAR_AWAY)
    both = open_picture(jpeg(segment(0xE1, broken), segment(0xE1, packet)))
    assert both.image.size == (48, 32)


@pytest.mark.parametrize(
    "data",
    [
        png(chunk(b"tEXt", b"a\0b", checksum=1))[:-80],
        png().replace(b"IDAT", b"IDAT\xff\xff", 1),
        jpeg(segment(0xE1, exif(orientation(6), ASCII_RESOLUTION)))[:-300],
        png(chunk(b"IHDR", b"\0\0")),
        jpeg()[:-3],
        saved(gradient(), "JPEG", restart_marker_rows=1)[:-20],
        saved(gradient(), "JPEG", progressive=True)[:-2],
    ],
    ids=[
        "png-cut-off",
        "png-pixels-shifted",
        "jpeg-cut-off",
        "png-second-header",
        "jpeg-last-byte-cut-off",
        "jpeg-restarts-cut-off",
        "jpeg-progressive-cut-off",
    ],
)
def test_damaged_pixels_stay_unreadable(data: bytes) -> None:
    with pytest.raises(PictureError) as caught:
        open_picture(data)
    assert caught.value.reason == "unreadable image"


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_what_would_unpack_to_much_is_not_unpacked(kind: bytes) -> None:
    content = zlib.compress(bytes(50_000_000))
    bomb = png(chunk(kind, (b"k\0\1\0\0\0" if kind == b"iTXt" else b"k\0\0") + content))
    tracemalloc.start()
    try:
        open_picture(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_real_bombs_are_turned_down_with_the_limit() -> None:
    bomb = saved(Image.new("1", (3000, 3000)), "PNG")
    with pytest.raises(PictureError) as caught:
        open_picture(bomb, max_pixels=1_000_000)
    assert caught.value.reason == "too many pixels"
    assert "3000 x 3000 pixels are more than max_pixels, 1000000" in str(caught.value)


def test_more_pixels_than_pillow_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert open_picture(png(), max_pixels=2_000).image.size == (48, 32)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(PictureError, match="max_pixels, 1000"):
        open_picture(png(), max_pixels=1_000)
    assert Image.MAX_IMAGE_PIXELS == 100

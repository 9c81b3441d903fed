"""Colours that are not sRGB become it; those that are keep their bytes."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from support.picture_files import chunk, gradient, png, same_pixels, saved, srgb_profile

from imig.pictures import open_picture
from imig.pictures.primaries import stated_colours_to_profile
from imig.pictures.stripped import StatedColours
from imig.sample import decode_image
from imig.stages.pictures import bytes_to_target

SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
ADOBE = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
COLOUR = (180, 120, 90)


def profile(primaries: tuple[float, ...] = SRGB, gamma: float | None = None) -> bytes:
    made = stated_colours_to_profile(StatedColours(chromaticities=primaries, gamma=gamma))
    assert made
    return made


def to_srgb(
    colour: tuple[int, ...], primaries: tuple[float, ...], exponent: float | None
) -> np.ndarray:
    """By the formulas of IEC 61966-2-1, for a white of D65."""

    def matrix(points: tuple[float, ...]) -> np.ndarray:
        x, y = np.array(points).reshape(4, 2).T
        xyz = np.stack([x, y, 1 - x - y]) / y
        return np.asarray(xyz[:, 1:] * np.linalg.solve(xyz[:, 1:], xyz[:, 0]))

    value = np.array(colour) / 255
    curve = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    linear = curve if exponent is None else value**exponent
    out = np.linalg.solve(matrix(SRGB), matrix(primaries) @ linear).clip(0, 1)
    shown = np.where(out <= 0.0031308, out * 12.92, 1.055 * out ** (1 / 2.4) - 0.055)
    return np.asarray(255 * shown)


def pixel(data: bytes) -> np.ndarray:
    values: np.ndarray = np.asarray(open_picture(data).to_rgb().resize((1, 1)), dtype=float)[0, 0]
    return values


def plain(mode: str = "RGB", colour: object = COLOUR) -> Image.Image:
    return Image.new(mode, (32, 32), colour)  # type: ignore[arg-type]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize(("primaries", "gamma"), [(P3, None), (ADOBE, 1 / 2.2 * 1.06)])
def test_a_profile_is_converted(
    format: str, primaries: tuple[float, ...], gamma: float | None
) -> None:
    quality: dict[str, dict[str, object]] = {
        "JPEG": {"quality": 100},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 100},
    }
    options = quality.get(format, {})
    data = saved(plain(), format, icc_profile=profile(primaries, gamma), **options)
    expected = to_srgb(COLOUR, primaries, None if gamma is None else 1 / gamma)
    assert np.abs(pixel(data) - expected).max() <= 2.5
    assert np.abs(np.array(COLOUR) - expected).max() > 6
    target = bytes_to_target(data, min_side=8, max_side=512, max_pixels=10**6)
    shown = np.asarray(decode_image(target.data), dtype=float)[16, 16]
    assert np.abs(shown - expected).max() <= 3.5
    assert target.oddities == ()


def test_srgb_by_any_name_keeps_its_bytes() -> None:
    for one in (srgb_profile(), srgb_profile().replace(b"sRGB", b"Mine")):
        data = saved(gradient(), "JPEG", icc_profile=one)
        assert bytes_to_target(data, min_side=8, max_side=99, max_pixels=10**6).data == data


def test_another_profile_that_calls_itself_srgb_is_converted() -> None:
    liar = profile(P3).replace(b"stated by the file", b"sRGB IEC61966-2.1 ")
    assert open_picture(saved(plain(), "JPEG", icc_profile=liar)).jpeg is None


@pytest.mark.parametrize(
    ("chunks", "primaries", "exponent"),
    [
        ([chunk(b"gAMA", struct.pack(">I", 45455))], SRGB, None),
        ([chunk(b"gAMA", struct.pack(">I", 100000))], SRGB, 1.0),
        ([chunk(b"gAMA", struct.pack(">I", 55556))], SRGB, 1.8),
        ([chunk(b"cHRM", struct.pack(">8I", *(round(one * 1e5) for one in SRGB)))], SRGB, None),
        ([chunk(b"cHRM", struct.pack(">8I", *(round(one * 1e5) for one in P3)))], P3, None),
        ([chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 100000))], SRGB, None),
        ([chunk(b"cICP", bytes([12, 13, 0, 1]))], P3, None),
        ([chunk(b"cICP", bytes([1, 13, 0, 1])), chunk(b"gAMA", struct.pack(">I", 100000))],
         SRGB, None),
    ],
    ids=["gamma-of-srgb", "linear", "gamma-1.8", "chromaticities-of-srgb", "chromaticities-of-p3",
         "srgb-goes-before-gamma", "code-points-of-p3", "code-points-go-before-gamma"],
)  # fmt: skip
def test_colours_that_a_png_states(
    chunks: list[bytes], primaries: tuple[float, ...], exponent: float | None
) -> None:
    found = pixel(png(*chunks, image=plain()))
    assert np.abs(found - to_srgb(COLOUR, primaries, exponent)).max() <= 1.5


def test_a_profile_goes_before_gamma_and_brightness_of_films_is_ignored() -> None:
    icc = chunk(b"iCCP", b"name\0\0" + zlib.compress(srgb_profile()))
    both = png(icc, chunk(b"gAMA", struct.pack(">I", 100000)), image=plain())
    assert np.array_equal(pixel(both), COLOUR)
    picture = open_picture(png(chunk(b"cICP", bytes([9, 16, 0, 1])), image=plain()))
    assert picture.oddities == ("unusable gAMA, cHRM or cICP ignored",)


def test_grey_sixteen_bits_and_transparency() -> None:
    expected = to_srgb(COLOUR, P3, None)
    clear = plain("RGBA", (*COLOUR, 128))
    icc = chunk(b"iCCP", b"name\0\0" + zlib.compress(profile(P3)))
    converted = open_picture(png(icc, image=clear)).to_rgb_or_rgba()
    assert converted.mode == "RGBA"
    assert np.abs(np.array(converted.getpixel((5, 5)))[:3] - expected).max() <= 1.5
    assert converted.getpixel((5, 5))[3] == 128  # type: ignore[index]
    linear = chunk(b"gAMA", struct.pack(">I", 100000))
    deep = Image.fromarray(np.full((8, 8), 12850, np.uint16))
    assert abs(pixel(png(linear, image=deep))[0] - to_srgb((50, 50, 50), SRGB, 1.0)[0]) <= 1
    palette = plain().quantize(4)
    assert np.abs(pixel(png(icc, image=palette)) - expected).max() <= 1.5


def grey_profile(exponent: float) -> bytes:
    """A profile of a scanner: one curve and a white point."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256)) + bytes(2)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"desc": b"desc\0\0\0\0\0\0\0\1\0" + bytes(79), b"kTRC": curve, b"wtpt": white}
    return _profile(tags, space=b"GRAY", class_=b"mntr", connection=b"XYZ ")


def ink_profile() -> bytes:
    """A press whose cyan is (60, -37, -50) in L*a*b*, and on which inks only darken otherwise."""
    nodes = bytearray()
    for number in range(16):
        cyan, magenta, yellow, black = (number >> bit & 1 for bit in (3, 2, 1, 0))
        lightness = 0 if black else 255 - 102 * cyan - 60 * magenta - 20 * yellow
        alone = cyan and not (magenta or yellow or black)
        nodes += bytes([max(lightness, 0), 128 - 37 * alone, 128 - 50 * alone])
    ramp = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + bytes(nodes) + ramp * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"desc": b"desc\0\0\0\0\0\0\0\1\0" + bytes(79), b"A2B0": table, b"A2B1": table,
            b"wtpt": white}  # fmt: skip
    return _profile(tags, space=b"CMYK", class_=b"prtr", connection=b"Lab ")


def _profile(tags: dict[bytes, bytes], *, space: bytes, class_: bytes, connection: bytes) -> bytes:
    offset = 132 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = offset + len(body)
    head = struct.pack(">I4xI4s4s4s12x4s28x3I48x", size, 0x02400000, class_, space, connection,
                       b"acsp", 63190, 65536, 54061)  # fmt: skip
    return head + table + body


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_grey_profiles(format: str) -> None:
    data = saved(Image.new("L", (32, 32), 128), format, icc_profile=grey_profile(1.0))
    assert abs(pixel(data)[1] - to_srgb((128, 128, 128), SRGB, 1.0)[1]) <= 1.5


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_inks_with_a_profile(format: str) -> None:
    data = saved(Image.new("CMYK", (32, 32), (255, 0, 0, 0)), format, icc_profile=ink_profile())
    lab = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )  # fmt: skip
    expected = lab.apply(Image.new("LAB", (1, 1), (153, 128 - 37, 128 - 50))).getpixel((0, 0))
    assert np.abs(pixel(data) - np.array(expected)).max() <= 4
    black = saved(Image.new("CMYK", (32, 32), (0, 0, 0, 255)), format, icc_profile=ink_profile())
    assert pixel(black).max() <= 3


@pytest.mark.parametrize(
    ("mode", "icc"),
    [("RGB", b"garbage"), ("RGB", srgb_profile()[:200]), ("RGB", ink_profile()),
     ("RGB", grey_profile(2.2)), ("CMYK", srgb_profile()), ("L", ink_profile()),
     ("RGB", bytes(900))],
    ids=["garbage", "cut-off", "inks-in-rgb", "grey-in-rgb", "rgb-in-inks", "inks-in-grey",
         "zeros"],
)  # fmt: skip
def test_profiles_that_do_not_fit_are_ignored_and_said(mode: str, icc: bytes) -> None:
    image = gradient().convert(mode)
    picture = open_picture(saved(image, "JPEG", icc_profile=icc))
    assert picture.oddities == ("unusable colour profile ignored",)
    assert same_pixels(picture.image, open_picture(saved(image, "JPEG")).image)


def test_an_rgb_profile_of_a_grey_picture() -> None:
    data = saved(Image.new("L", (8, 8), 128), "PNG", icc_profile=profile(SRGB, 1.0))
    assert abs(pixel(data)[0] - to_srgb((128, 128, 128), SRGB, 1.0)[0]) <= 1.5

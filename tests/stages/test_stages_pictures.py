import io
import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms

from imig.sample import decode_image
from imig.stages.pictures import PictureError, Target, bytes_to_target

GRADIENT = np.linspace(0, 255, 96 * 64 * 3).reshape(64, 96, 3).astype(np.uint8)


def to_bytes(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def to_target(data: bytes, *, min_side: int = 16, max_side: int = 512) -> Target:
    return bytes_to_target(data, min_side=min_side, max_side=max_side, max_pixels=1_000_000)


def failure(data: bytes, **limits: int) -> PictureError:
    with pytest.raises(PictureError) as caught:
        bytes_to_target(data, **{"min_side": 16, "max_side": 512, "max_pixels": 10_000, **limits})
    return caught.value


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        ("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("P", "GIF"), ("RGB", "PNG"),
        ("RGBA", "PNG"), ("RGBA", "WEBP"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("L", "JPEG"),
        ("YCbCr", "TIFF"), ("LAB", "TIFF"), ("RGB", "BMP"), ("RGB", "PPM"), ("RGB", "AVIF"),
        ("RGB", "JPEG2000"), ("PA", "TIFF"), ("I;16", "PNG"), ("I;16", "TIFF"), ("I", "TIFF"),
        ("F", "TIFF"),
    ],
)  # fmt: skip
def test_every_mode_becomes_an_rgb_jpeg(mode: str, format: str) -> None:
    image = Image.fromarray(GRADIENT)
    if mode == "I;16":
        image = Image.fromarray((GRADIENT[..., 0].astype(np.uint16)) * 257)
    elif mode == "PA":
        image = image.convert("P").convert("PA")
    elif mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.buildTransform(*profiles, "RGB", "LAB").apply(image)
    elif mode in ("I", "F"):
        image = image.convert("L").convert(mode)
    else:
        image = image.convert(mode)
    target = to_target(to_bytes(image, format))
    assert (target.width, target.height) == (96, 64)
    decoded = Image.open(io.BytesIO(target.data))
    assert (decoded.format, decoded.mode, decoded.size) == ("JPEG", "RGB", (96, 64))
    pixels = np.asarray(decoded, float)
    assert pixels[:8].mean() < 60
    assert pixels[-8:].mean() > 190


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    assert np.asarray(decode_image(to_target(to_bytes(clear)).data)).min() > 250
    palette = Image.new("P", (32, 32), 3)
    palette.putpalette([0, 0, 0] * 256)
    data = to_bytes(palette, transparency=3)
    assert np.asarray(decode_image(to_target(data).data)).min() > 250


def test_dark_16_bit_pictures_stay_dark() -> None:
    dark = Image.fromarray(np.full((32, 32), 2570, np.uint16))
    assert np.asarray(decode_image(to_target(to_bytes(dark)).data)).max() == 10


def test_not_a_number_is_black() -> None:
    values = np.full((32, 32), np.nan, np.float32)
    values[:16] = 1.0
    pixels = np.asarray(decode_image(to_target(to_bytes(Image.fromarray(values), "TIFF")).data))
    assert pixels[:12].min() > 250
    assert pixels[20:].max() < 5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_exif_orientation_is_applied_once(orientation: int, format: str) -> None:
    # The picture as its photographer saw it: white at the top left, red at the top right.
    upright = np.zeros((64, 96, 3), np.uint8)
    upright[:24, :24] = 255
    upright[:24, -24:] = (255, 0, 0)
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = Image.fromarray(upright)
    stored = stored if undo is None else stored.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    target = to_target(to_bytes(stored, format, exif=exif.tobytes()))
    image = Image.open(io.BytesIO(target.data))
    assert image.getexif().get(0x0112, 1) == 1
    pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (64, 96, 3) == (target.height, target.width, 3)
    assert pixels[8, 8].min() > 230
    assert pixels[8, -8, 0] > 230
    assert pixels[8, -8, 1] < 40
    assert pixels[-8].max() < 40


def test_upright_jpeg_within_the_limits_keeps_its_bytes() -> None:
    data = to_bytes(Image.fromarray(GRADIENT), "JPEG", quality=80)
    assert to_target(data).data == data
    assert to_target(data, max_side=96).data == data
    assert to_target(data, max_side=95).data != data
    grey = to_bytes(Image.fromarray(GRADIENT).convert("L"), "JPEG")
    assert to_target(grey).data != grey


def test_damaged_exif_turns_nothing() -> None:
    data = to_bytes(Image.fromarray(GRADIENT), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert to_target(data).width == 96


def test_large_pictures_are_scaled_down_and_small_ones_left() -> None:
    target = to_target(to_bytes(Image.fromarray(GRADIENT)), max_side=48)
    assert (target.width, target.height) == (48, 32)
    assert decode_image(target.data).size == (48, 32)


def test_small_and_elongated_pictures_are_turned_down() -> None:
    error = failure(to_bytes(Image.fromarray(GRADIENT)), min_side=65)
    assert (error.reason, error.figures["height"]) == ("image too small", 64)
    # Tall enough, but not once it is scaled down.
    assert failure(to_bytes(Image.new("L", (200, 40))), max_side=50).reason == "image too small"


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    for format in ("GIF", "WEBP", "PNG"):
        data = to_bytes(frames[0], format, save_all=True, append_images=frames[1:])
        red, _, blue = np.asarray(decode_image(to_target(data).data)).mean(axis=(0, 1))
        assert red > 240
        assert blue < 20


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 4096,
        b"this is not an image",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n",
        to_bytes(Image.fromarray(GRADIENT), "JPEG")[:900],
        to_bytes(Image.fromarray(GRADIENT), "PNG")[:-200],
        to_bytes(Image.fromarray(GRADIENT), "WEBP")[:60],
        to_bytes(Image.fromarray(GRADIENT), "TIFF")[:300],
        to_bytes(Image.fromarray(GRADIENT).convert("P"), "GIF")[:900],
    ],
    ids=["empty", "zeros", "text", "eps", "jpeg", "png", "webp", "tiff", "gif"],
)
def test_damage_has_a_reason_that_repeats(data: bytes) -> None:
    error = failure(data)
    assert error.reason == "unreadable image"
    assert error.figures["error"] == failure(data).figures["error"]
    assert error.figures["bytes"] == len(data)


def test_random_damage_never_raises_anything_else() -> None:
    rng = np.random.default_rng(7)
    for format in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "AVIF", "JPEG2000"):
        good = bytearray(to_bytes(Image.fromarray(GRADIENT), format))
        for _ in range(60):
            bad = bytearray(good)
            for place in rng.integers(len(bad), size=int(rng.integers(1, 12))):
                bad[int(place)] = int(rng.integers(256))
            try:
                assert to_target(bytes(bad)).width > 0
            except PictureError as error:
                assert error.reason  # noqa: PT017 - either outcome is right


def test_too_many_pixels_are_found_without_decoding() -> None:
    bomb = to_bytes(Image.new("1", (3000, 3000)))
    for max_pixels in (8_999_999, 4_000_000, 100):
        error = failure(bomb, max_pixels=max_pixels)
        assert error.reason == "too many pixels"
        assert error.figures["max_pixels"] == max_pixels
    assert bytes_to_target(bomb, min_side=16, max_side=64, max_pixels=9_000_000).width == 64


def test_pillows_own_limits_are_left_as_they_were() -> None:
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    failure(to_bytes(Image.new("1", (300, 300))), max_pixels=10)
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before

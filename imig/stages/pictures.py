"""Pictures from outside -> targets: every mode, rotation, size and kind of damage.

A target is an upright RGB JPEG. What cannot become one raises `PictureError` with the reason and
the figures that the reject will carry.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageOps

from imig.sample import image_to_jpeg

PICTURE_SUFFIXES = frozenset(
    {
        ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm",
        ".png", ".ppm", ".tif", ".tiff", ".webp",
    }
)  # fmt: skip
"""File names that count as pictures, lower case."""

_FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000"]
# Pillow knows more, among them EPS, which hands the file to an external interpreter. Multi-picture
# files of telephones (MPO) open as JPEG.

_DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, OverflowError,
    MemoryError, EOFError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
# What Pillow's decoders raise on damaged bytes: there is no common class.

_EXIF_ORIENTATION = 0x0112


@dataclass
class PictureError(Exception):
    """A picture that cannot become a target; `reason` and `figures` are those of the reject."""

    reason: str
    figures: dict[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """The bytes of an upright RGB JPEG, and its size in pixels."""

    data: bytes
    width: int
    height: int


def bytes_to_target(data: bytes, *, min_side: int, max_side: int, max_pixels: int) -> Target:
    """Decode a picture and make it a target.

    Transparency is laid on white, the first frame of an animation is taken, 16-bit greys are
    scaled to 8 bits, colour profiles are ignored. An upright RGB JPEG within the limits keeps its
    bytes.

    Raises
    ------
    PictureError
        "unreadable image", "too many pixels" (found in the header, nothing is decoded), or "image
        too small" (shorter side below `min_side` after scaling down to `max_side`).
    """
    with _pixel_limit(max_pixels):
        try:
            image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
            width, height = _scaled_size(image.size, max_side=max_side)
            if min(width, height) < min_side:
                raise PictureError(
                    "image too small",
                    {"width": image.width, "height": image.height, "min_side": min_side},
                )
            image.load()
            kept = _keeps_its_bytes(image, max_side=max_side)
            if not kept:
                image = _to_rgb(_upright(image))
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise PictureError(
                "too many pixels", {"error": str(error), "max_pixels": max_pixels}
            ) from error
        except _DECODE_ERRORS as error:
            raise PictureError(
                "unreadable image",
                {"error": f"{type(error).__name__}: {_without_address(error)}", "bytes": len(data)},
            ) from error
    if kept:
        return Target(data, image.width, image.height)
    size = _scaled_size(image.size, max_side=max_side)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return Target(image_to_jpeg(image), *size)


@contextmanager
def _pixel_limit(max_pixels: int) -> Iterator[None]:
    """Let Pillow turn down what has more pixels, pictures inside containers included.

    Pillow only warns between its limit and twice its limit, hence the warning made an error.
    """
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks about odd EXIF and palettes
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _without_address(error: BaseException) -> str:
    """The message without the address of the buffer, which differs from run to run."""
    return str(error).split(" <_io.BytesIO")[0]


def _scaled_size(size: tuple[int, int], *, max_side: int) -> tuple[int, int]:
    """The size with its longer side at most `max_side`, aspect kept, at least 1 pixel."""
    factor = min(1.0, max_side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where there is none or the EXIF block is damaged."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _DECODE_ERRORS:
        return 1
    return value if value in range(1, 9) else 1


def _keeps_its_bytes(image: Image.Image, *, max_side: int) -> bool:
    return (
        image.format == "JPEG"
        and image.mode == "RGB"
        and max(image.size) <= max_side
        and _orientation(image) == 1
    )


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says; damaged EXIF turns nothing."""
    if _orientation(image) == 1:
        return image
    return ImageOps.exif_transpose(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode -> RGB, transparency on white."""
    if image.mode.startswith("I;16"):
        return _greys_to_rgb(np.asarray(image, dtype=np.float64), full_scale=65535.0)
    if image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
        return _greys_to_rgb(values, full_scale=_full_scale(values, image.mode))
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return image.convert("RGB")


def _full_scale(values: np.ndarray, mode: str) -> float:
    """What white is in a picture whose mode does not say: the least usual scale that holds it."""
    highest = float(values.max())
    scales = (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0)
    return next((scale for scale in scales if highest <= scale), highest)


def _greys_to_rgb(values: np.ndarray, *, full_scale: float) -> Image.Image:
    grey = np.rint(np.clip(values / full_scale, 0.0, 1.0) * 255.0).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")

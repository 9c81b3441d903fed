"""Pictures from outside -> targets: every mode, rotation, size, colour space and kind of damage.

A target is an upright RGB JPEG, sRGB. What cannot become one raises `PictureError` with the reason
and the figures that the reject will carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from PIL import Image, features

from imig.pictures import HEIF_CURE, PictureError, has_heif, open_picture
from imig.sample import image_to_jpeg

__all__ = [
    "MANY_PIXELS_CURE",
    "UNREAD_SUFFIXES",
    "PictureError",
    "Target",
    "bytes_to_target",
    "picture_suffixes",
    "unread_cures",
]

MANY_PIXELS_CURE: Final = "scale it down, or raise source.max_pixels"

_SUFFIXES: Final = frozenset(
    {
        ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm",
        ".png", ".ppm", ".tif", ".tiff", ".webp",
    }
)  # fmt: skip
_HEIF_SUFFIXES: Final = frozenset({".heic", ".heif", ".hif"})
_AVIF_SUFFIXES: Final = frozenset({".avif"})

UNREAD_SUFFIXES: Final = _HEIF_SUFFIXES | _AVIF_SUFFIXES | {
    ".3fr", ".ai", ".arw", ".cr2", ".cr3", ".dds", ".dng", ".emf", ".eps", ".erf", ".exr", ".hdr",
    ".icns", ".ico", ".iiq", ".j2k", ".jpc", ".jpf", ".jpx", ".jxl", ".jxr", ".kdc", ".mrw",
    ".nef", ".nrw", ".orf", ".pcx", ".pef", ".psb", ".psd", ".raf", ".raw", ".rw2", ".rwl",
    ".sr2", ".srf", ".srw", ".svg", ".svgz", ".tga", ".wdp", ".wmf", ".x3f", ".xcf",
}  # fmt: skip
"""File names of pictures that are not read, lower case: of raw photographs, drawings, and of those
that need what is not installed. `picture_suffixes` come first."""


@cache
def picture_suffixes() -> frozenset[str]:
    """File names that count as pictures, lower case; HEIC and AVIF where they can be read here."""
    return frozenset().union(
        _SUFFIXES,
        _HEIF_SUFFIXES if has_heif() else (),
        _AVIF_SUFFIXES if features.check("avif") else (),
    )


def unread_cures(counts: Mapping[str, int]) -> str:
    """What would make files of these suffixes readable; "" where imig knows nothing."""
    if _HEIF_SUFFIXES.isdisjoint(counts) or has_heif():
        return ""
    return HEIF_CURE


@dataclass(frozen=True)
class Target:
    """The bytes of an upright RGB JPEG, and its size in pixels."""

    data: bytes
    width: int
    height: int
    oddities: tuple[str, ...] = ()
    """What was wrong with the file and did not matter, see `imig.pictures`."""
    upright_size: tuple[int, int] = (0, 0)
    """Of the picture before it was scaled, (width, height)."""
    orientation: int = 1
    """How it lay in the file, see `imig.pictures.OpenedPicture`."""


def bytes_to_target(data: bytes, *, min_side: int, max_side: int, max_pixels: int) -> Target:
    """Decode a picture and make it a target.

    Transparency is laid on white, the first frame of an animation is taken, 16-bit greys are
    scaled to 8 bits, colours that are not sRGB are converted. An upright RGB JPEG within the limits
    whose colours are sRGB keeps its bytes; damaged metadata are cut out of them.

    Raises
    ------
    PictureError
        "unreadable image", "too many pixels" (found in the header, nothing is decoded), or "image
        too small" (shorter side below `min_side` after scaling down to `max_side`).
    """

    def check_size(size: tuple[int, int]) -> None:
        if min(_scaled_size(size, max_side=max_side)) < min_side:
            raise PictureError(
                "image too small", {"width": size[0], "height": size[1], "min_side": min_side}
            )

    try:
        picture = open_picture(data, max_pixels=max_pixels, check_size=check_size)
    except PictureError as error:
        if error.reason == "too many pixels":
            error.figures["cure"] = MANY_PIXELS_CURE
        raise
    full_size = picture.image.size
    size = _scaled_size(full_size, max_side=max_side)
    stored = picture.jpeg if size == full_size else None
    if stored is None:
        image = picture.to_rgb()
        if size != image.size:
            image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
        stored = image_to_jpeg(image)
    return Target(stored, *size, picture.oddities, full_size, picture.orientation)


def _scaled_size(size: tuple[int, int], *, max_side: int) -> tuple[int, int]:
    """The size with its longer side at most `max_side`, aspect kept, at least 1 pixel."""
    factor = min(1.0, max_side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))

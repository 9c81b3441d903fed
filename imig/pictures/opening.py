"""Open a picture from outside: what its pixels are decides, never what else is in the file."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from PIL import Image, ImageCms, UnidentifiedImageError

from imig.layout.masks import Mask
from imig.pictures.colours import (
    UnusableProfileError,
    convert_to_srgb,
    profile_to_transform,
)
from imig.pictures.containers import strip_metadata
from imig.pictures.heif import HEIF_CURE, HEIF_FORMAT, has_heif, is_heif
from imig.pictures.jpeg import endings_to_try
from imig.pictures.modes import flatten, to_eight_bits, to_mask
from imig.pictures.orientation import (
    ORIENTATION_TAG,
    read_exif_orientation,
    read_xmp_orientation,
    turn_upright,
)
from imig.pictures.primaries import UnusableColoursError, stated_colours_to_profile
from imig.pictures.stripped import Stripped

DEFAULT_MAX_PIXELS = 100_000_000
"""Where nobody chooses: what the recipe's `max_pixels` is by default."""

STORED_MAX_PIXELS = 1 << 28
"""Of pictures in shards, beyond which validation does not decode them either."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Pillow knows more, among them EPS, which hands the file to an external interpreter. Multi-picture
files of telephones (MPO) open as JPEG. Shards hold no others; from outside HEIC is read too, where
pillow-heif is installed."""

DAMAGED_METADATA = "damaged metadata left out"
DAMAGED_EXIF = "damaged EXIF"
MISSING_END = "JPEG without its end mark"
UNUSABLE_PROFILE = "unusable colour profile ignored"
UNUSABLE_COLOURS = "unusable gAMA, cHRM or cICP ignored"

DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
    AssertionError, MemoryError, EOFError, RuntimeError, Warning, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise on damaged bytes: there is no common class."""

CheckHeader = Callable[[Image.Image], None]
"""Sees a picture whose header has been read, and nothing else."""

_WHITE = (255, 255, 255)
_limit_lock = threading.Lock()


@dataclass
class PictureError(Exception):
    """A picture that cannot be used; `reason` and `figures` are those of the reject."""

    reason: str
    figures: dict[str, float | int | str] = field(default_factory=dict)

    def __str__(self) -> str:
        return str(self.figures.get("error", self.reason))


@dataclass(frozen=True)
class OpenedPicture:
    """A decoded picture, upright."""

    image: Image.Image
    """In the mode and the colours of the file."""
    oddities: tuple[str, ...]
    """What was wrong with the file and did not matter: short fixed phrases."""
    jpeg: bytes | None
    """Bytes of an RGB JPEG that shows this picture to every reader; None where it needs writing
    anew. They are the file's own, without what is damaged in it."""
    transform: ImageCms.ImageCmsTransform | None
    """What makes its colours sRGB; None where they are."""
    orientation: int = 1
    """How it lay in the file, 1 to 8 as in EXIF; 1 where its decoder has turned it already."""

    def to_rgb(self, *, background: tuple[int, int, int] = _WHITE) -> Image.Image:
        """RGB of 8 bits, sRGB; what is transparent shows the background."""
        return flatten(self._converted(), background)

    def to_rgb_or_rgba(self) -> Image.Image:
        """RGBA of 8 bits where the file has transparency of any kind, else RGB; sRGB."""
        image = self._converted()
        return image.convert("RGBA" if image.has_transparency_data else "RGB")

    def to_mask(self) -> Mask:
        """Boolean (height, width), by the rule of `imig.pictures.modes.to_mask`."""
        return to_mask(self.image)

    def _converted(self) -> Image.Image:
        image = to_eight_bits(self.image)
        return image if self.transform is None else convert_to_srgb(image, self.transform)


def open_picture(
    data: bytes,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    check_size: Callable[[tuple[int, int]], None] | None = None,
) -> OpenedPicture:
    """Decode a picture of any of `FORMATS` or HEIC, turn it upright, and find out its colours.

    Of an animation the first frame is taken. Metadata that the decoder chokes on are left out.
    Orientation and profile are read by imig itself, which never unpacks more than it looks at.

    Parameters
    ----------
    max_pixels:
        Pictures with more are turned down by their header; nothing of them is decoded.
    check_size:
        Called with (width, height) before anything is decoded; may raise `PictureError`.

    Raises
    ------
    PictureError
        "unreadable image" or "too many pixels".
    """

    def check_header(image: Image.Image) -> None:
        if check_size is not None:
            check_size(image.size)

    parts = strip_metadata(data)
    oddities = []
    is_whole = True
    formats = (*FORMATS, HEIF_FORMAT) if is_heif(data) and has_heif() else FORMATS
    try:
        image = _decode(data, max_pixels=max_pixels, check_header=check_header, formats=formats)
    except DECODE_ERRORS as error:
        if parts.pixels == data and not endings_to_try(data):
            raise _unreadable(error, data) from error
        try:
            image = _decode(
                parts.pixels, max_pixels=max_pixels, check_header=check_header, formats=formats
            )
            oddities.append(DAMAGED_METADATA)
        except DECODE_ERRORS as second:
            completed = _complete_jpeg(parts.pixels, max_pixels=max_pixels)
            if completed is None:
                raise _unreadable(second, data) from second
            image, pixels = completed
            parts = replace(parts, pixels=pixels)
            oddities.append(MISSING_END)
        is_whole = False
    orientation, damaged_exif = _find_orientation(image, parts)
    if damaged_exif:
        oddities.append(DAMAGED_EXIF)
    transform, unusable = _find_transform(image, parts)
    if unusable is not None:
        oddities.append(unusable)
    jpeg = None
    if image.format == "JPEG" and image.mode == "RGB" and orientation == 1 and transform is None:
        is_whole = is_whole and unusable is None and _others_find_it_upright(image)
        jpeg = data if is_whole else parts.pixels
    upright = turn_upright(image, orientation)
    # Comments and the like would go into whatever is made of it, or be too long for it.
    upright.info = {key: value for key, value in upright.info.items() if key == "transparency"}
    return OpenedPicture(upright, tuple(oddities), jpeg, transform, orientation)


def decode_pixels(data: bytes, *, check_header: CheckHeader | None = None) -> Image.Image:
    """A picture as it is stored in a shard, in its own mode: nothing turned, no colours converted.

    So its pixels are those that every other reader of the shard sees, and that its boxes mean.

    Parameters
    ----------
    check_header:
        Called with the picture before anything of it is decoded, when format, mode and size are
        known; what it raises stops the decoding.

    Raises
    ------
    OSError
        When it does not decode, whatever the decoder raised.
    """
    try:
        try:
            return _decode(data, max_pixels=STORED_MAX_PIXELS, check_header=check_header)
        except DECODE_ERRORS:
            stripped = strip_metadata(data).pixels
            return _decode(stripped, max_pixels=STORED_MAX_PIXELS, check_header=check_header)
    except (*DECODE_ERRORS, PictureError) as error:
        raise OSError(why_undecodable(error)) from error


def why_undecodable(error: Exception) -> str:
    """What a decoder has raised, in words that are the same in every run."""
    if isinstance(error, UnidentifiedImageError):
        return "it is of no format that imig reads"  # Pillow names an object's place in memory
    return _without_address(error) or type(error).__name__


def _decode(
    data: bytes,
    *,
    max_pixels: int,
    check_header: CheckHeader | None,
    formats: tuple[str, ...] = FORMATS,
) -> Image.Image:
    def decode() -> Image.Image:
        return _decode_within(
            data, max_pixels=max_pixels, check_header=check_header, formats=formats
        )

    try:
        return decode()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        if Image.MAX_IMAGE_PIXELS is None or max_pixels <= Image.MAX_IMAGE_PIXELS:
            raise PictureError(
                "too many pixels", {"error": str(error), "max_pixels": max_pixels}
            ) from error
    # More than Pillow allows, though perhaps not more than the caller does.
    with _pillows_limit(max_pixels):
        try:
            return decode()
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise PictureError(
                "too many pixels", {"error": str(error), "max_pixels": max_pixels}
            ) from error


def _decode_within(
    data: bytes,
    *,
    max_pixels: int,
    check_header: CheckHeader | None,
    formats: tuple[str, ...],
) -> Image.Image:
    image: Image.Image = Image.open(io.BytesIO(data), formats=formats)
    stated = image.size
    _check_pixels(stated, max_pixels=max_pixels)
    if check_header is not None:
        check_header(image)
    image.load()
    if image.size != stated:  # what is coded in a HEIC may be of another size than its header says
        _check_pixels(image.size, max_pixels=max_pixels)
        if check_header is not None:
            check_header(image)
    if image.mode in ("P", "PA") and image.palette is None:
        raise OSError("its palette is missing")  # which Pillow itself only finds in use
    return image


def _check_pixels(size: tuple[int, int], *, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise PictureError(
            "too many pixels",
            {
                "error": f"{width} x {height} pixels are more than max_pixels, {max_pixels}",
                "width": width,
                "height": height,
                "max_pixels": max_pixels,
            },
        )


@contextmanager
def _pillows_limit(pixels: int) -> Iterator[None]:
    """Raise Pillow's own limit for a while, in one thread at a time.

    Others may meanwhile open what Pillow would turn down; here they have limits of their own.
    """
    with _limit_lock:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _complete_jpeg(data: bytes, *, max_pixels: int) -> tuple[Image.Image, bytes] | None:
    """A JPEG that lacks its end mark and nothing else, decoded, and with the mark."""
    first: Image.Image | None = None
    endings = endings_to_try(data)
    try:
        for ending in endings:
            image = _decode(ending, max_pixels=max_pixels, check_header=None)
            if first is not None and image.tobytes() != first.tobytes():
                return None
            first = first or image
    except DECODE_ERRORS:
        return None
    return None if first is None else (first, endings[0])


def _find_orientation(image: Image.Image, parts: Stripped) -> tuple[int, bool]:
    """1 to 8, and whether EXIF is damaged."""
    if image.format in ("TIFF", HEIF_FORMAT):
        return 1, False  # its decoder has turned it
    exif = parts.exif
    if image.format == "AVIF":
        exif = image.info.get("exif", b"")  # with what the container says of the orientation
    value, damaged = None, False
    if exif:
        found = read_exif_orientation(exif)
        value, damaged = found.value, found.damaged
    return value or read_xmp_orientation(parts.xmp) or 1, damaged


def _find_transform(
    image: Image.Image, parts: Stripped
) -> tuple[ImageCms.ImageCmsTransform | None, str | None]:
    """What makes the colours sRGB, and what kept that from being found."""
    profile = parts.profile
    if image.format in ("AVIF", HEIF_FORMAT):
        profile = image.info.get("icc_profile", b"")
    if parts.damaged_profile:
        return None, UNUSABLE_PROFILE
    kind = UNUSABLE_PROFILE
    try:
        if not profile:
            kind = UNUSABLE_COLOURS
            profile = stated_colours_to_profile(parts.colours)
        return (profile_to_transform(profile, image_mode=image.mode) if profile else None), None
    except (UnusableProfileError, UnusableColoursError):
        return None, kind


def _others_find_it_upright(image: Image.Image) -> bool:
    """Whether readers that trust Pillow with damaged EXIF leave the stored picture as it lies."""
    try:
        value: object = image.getexif().get(ORIENTATION_TAG, 1)
    except DECODE_ERRORS:
        return False
    return value not in range(2, 9)


def _unreadable(error: BaseException, data: bytes) -> PictureError:
    figures: dict[str, float | int | str] = {
        "error": f"{type(error).__name__}: {_without_address(error)}",
        "bytes": len(data),
    }
    if is_heif(data) and not has_heif():
        figures["cure"] = f"it is HEIC: {HEIF_CURE}"
    return PictureError("unreadable image", figures)


def _without_address(error: BaseException) -> str:
    """Pillow's messages name the address of the buffer, which differs from run to run."""
    return str(error).split(" <_io.BytesIO")[0]

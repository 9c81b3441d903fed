"""Take a picture file apart, whichever format it has."""

from __future__ import annotations

from imig.pictures.boxes import JPEG_2000_SIGNATURE, is_avif, strip_avif, strip_jpeg_2000
from imig.pictures.gif import SIGNATURES as GIF_SIGNATURES
from imig.pictures.gif import strip_gif
from imig.pictures.heif import is_heif
from imig.pictures.jpeg import SIGNATURE as JPEG_SIGNATURE
from imig.pictures.jpeg import strip_jpeg
from imig.pictures.png import SIGNATURE as PNG_SIGNATURE
from imig.pictures.png import strip_png
from imig.pictures.stripped import Stripped
from imig.pictures.tiff import is_tiff, strip_tiff
from imig.pictures.webp import is_webp, strip_webp


def strip_metadata(data: bytes) -> Stripped:
    """The file without what its pixels do not need, decoded by nobody; never raises.

    Formats whose metadata cannot harm (BMP, PPM) and files of no known format stay as they are.
    """
    if data.startswith(JPEG_SIGNATURE):
        return strip_jpeg(data)
    if data.startswith(PNG_SIGNATURE):
        return strip_png(data)
    if is_webp(data):
        return strip_webp(data)
    if is_tiff(data):
        return strip_tiff(data)
    if data.startswith(GIF_SIGNATURES):
        return strip_gif(data)
    if is_avif(data) or is_heif(data):
        return strip_avif(data)
    if data.startswith(JPEG_2000_SIGNATURE):
        return strip_jpeg_2000(data)
    return Stripped(data)

"""Pictures from outside, whoever wrote them: one function opens them all.

`open_picture` decodes, turns upright and says what makes the colours sRGB. Damaged or exotic
metadata never decide about sound pixels; what was wrong and did not matter is an *oddity*, which
builds count and `imig generate` prints.
"""

from imig.pictures.heif import HEIF_CURE, has_heif
from imig.pictures.opening import (
    FORMATS,
    OpenedPicture,
    PictureError,
    decode_pixels,
    open_picture,
    why_undecodable,
)

__all__ = [
    "FORMATS",
    "HEIF_CURE",
    "OpenedPicture",
    "PictureError",
    "decode_pixels",
    "has_heif",
    "open_picture",
    "why_undecodable",
]

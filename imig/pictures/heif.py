"""HEIC and HEIF, which telephones write: read where pillow-heif is installed (``imig[heic]``)."""

from __future__ import annotations

from functools import cache
from typing import Final

HEIF_FORMAT: Final = "HEIF"
"""What Pillow calls it."""
HEIF_CURE: Final = "pip install imig[heic]"

_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)


def is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _BRANDS


@cache
def has_heif() -> bool:
    """Whether this machine reads HEIC; if so, Pillow knows the format from now on."""
    try:
        import pillow_heif
    except (ImportError, OSError):  # OSError: its library does not load
        return False
    # The picture alone; and as many threads as any other decoder.
    pillow_heif.register_heif_opener(
        decode_threads=1, thumbnails=False, depth_images=False, aux_images=False
    )
    return True

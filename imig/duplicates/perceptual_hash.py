"""The perceptual hash of a picture: 64 bits that survive scaling, recompression and small changes.

The pHash of Zauner (2010), with the constants and the bit order of the package `imagehash`, so that
stored hashes can be compared with what other tools write. Few differing bits mean a near copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

BITS = 64
_SIDE, _LOW = 32, 8
# Coefficients of a plain picture are rounding errors of about 1e-12: they must not become bits.
_DECIMALS = 6


def perceptual_hash(image: Image.Image) -> str:
    """The hash of a picture of any size and mode, as 16 hexadecimal digits."""
    from PIL import Image as images
    from scipy.fft import dctn

    grey = image.convert("L").resize((_SIDE, _SIDE), images.Resampling.LANCZOS)
    low = np.round(dctn(np.asarray(grey, dtype=np.float64))[:_LOW, :_LOW], _DECIMALS)
    bits = low > np.median(low)
    return np.packbits(bits.ravel()).tobytes().hex()

"""How sharp an image is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def laplacian_variance(image: Image.Image, mask: NDArray[np.bool_] | None = None) -> float:
    """Variance of the Laplacian of the grey values in [0, 1]; higher is sharper.

    The Laplacian is the 4-neighbour one (Pech-Pacheco et al. 2000), the border is reflected. With
    a mask (height, width) only pixels under it count, so that a blurred background does not make a
    sharp subject look blurred; 0 where it covers fewer than two pixels.
    """
    from scipy import ndimage

    grey = np.asarray(image.convert("L"), dtype=np.float32) / 255
    response = ndimage.laplace(grey, mode="reflect")
    values = response if mask is None else response[mask]
    return float(values.var()) if values.size > 1 else 0.0

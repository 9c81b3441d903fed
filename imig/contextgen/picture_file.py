"""Pictures of a person's own, of whatever format and mode, as upright RGB or RGBA of 8 bits."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from imig.errors import UsageError

_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def read_picture(path: Path, *, place: str) -> Image.Image:
    """RGBA where the file has transparency of any kind, else RGB; turned as its EXIF says.

    Parameters
    ----------
    place:
        What names the picture, for messages: ``layout.json:12: references.1.mask``.

    Raises
    ------
    UsageError
        When there is no such file, or it does not decode to 8 or 16 bits a channel.
    """
    try:
        with warnings.catch_warnings():
            # From 90 megapixels on; at twice that it is an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                picture = ImageOps.exif_transpose(file)
    except FileNotFoundError:
        raise UsageError(
            f"{place}: there is no picture {path}", cure="paths are relative to the layout file"
        ) from None
    except Image.DecompressionBombError as error:
        raise UsageError(
            f"{place}: {path} is too large: {error}",
            cure="make it smaller: the model sees references at a few hundred pixels",
        ) from error
    except (OSError, ValueError, SyntaxError) as error:
        # PIL raises SyntaxError for some damaged PNGs.
        raise UsageError(
            f"{place}: {path} is no readable picture: {error}",
            cure="PNG, JPEG, WebP and TIFF are read, among others",
        ) from error
    if picture.mode == "F":
        raise UsageError(
            f"{place}: {path} has floating-point pixels, and nothing says how bright 1.0 is",
            cure="save it with 8 or 16 bits a channel",
        )
    if picture.mode in _SIXTEEN_BITS:
        # PIL itself would cut 16 bits off at 255 instead of scaling them.
        grey = np.asarray(picture).clip(0, 65535).astype(np.uint16)
        picture = Image.fromarray((grey >> 8).astype(np.uint8))
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def flatten(picture: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """RGB; what is transparent shows the background."""
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    ground = Image.new("RGBA", picture.size, (*background, 255))
    return Image.alpha_composite(ground, picture).convert("RGB")

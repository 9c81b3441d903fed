"""Pictures and masks of a person's own, of whatever format and mode."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from PIL import Image

from imig.errors import UsageError
from imig.layout.masks import Mask
from imig.pictures import OpenedPicture, PictureError, open_picture
from imig.pictures.modes import brightness_of_mask
from imig.regular_file import read_regular_file

MAX_PIXELS = 178_956_970
"""Of a picture: as many as Pillow decodes for anybody."""


def read_picture(path: Path, *, place: str) -> Image.Image:
    """RGBA where the file has transparency of any kind, else RGB; upright, sRGB, 8 bits.

    What is wrong with the file and does not matter is printed on the error stream.

    Parameters
    ----------
    place:
        What names the picture, for messages: ``layout.json:12: references.1.mask``.

    Raises
    ------
    UsageError
        When there is no such file, when it does not decode, has floats for pixels, or too many.
    """
    picture = _open(path, place=place)
    if picture.image.mode == "F":
        raise UsageError(
            f"{place}: {path} has floating-point pixels, and nothing says how bright 1.0 is",
            cure="save it with 8 or 16 bits a channel",
        )
    return picture.to_rgb_or_rgba()


def read_mask(path: Path, *, place: str) -> Mask:
    """Boolean (height, width), upright: where white is, by `imig.pictures.modes.to_mask`.

    Parameters and errors are those of `read_picture`; floats are read, an empty mask is an error.
    """
    picture = _open(path, place=place)
    mask = picture.to_mask()
    if not mask.any():
        brightness, white = brightness_of_mask(picture.image)
        raise UsageError(
            f"{place}: {path.name} is empty: no pixel is brighter than half, the brightest is "
            f"{float(brightness.max()):g} of {white:g}",
            cure="a mask is white on the subject: 255, or 1 beside 0, or 65535 in 16 bits",
        )
    return mask


def _open(path: Path, *, place: str) -> OpenedPicture:
    try:
        data = read_regular_file(path)
    except FileNotFoundError:
        raise UsageError(
            f"{place}: there is no picture {path}", cure="paths are relative to the layout file"
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{place}: {path} cannot be read: {getattr(error, 'strerror', None) or error}",
            cure="give a picture file",
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on what is an oddity here
            picture = open_picture(data, max_pixels=MAX_PIXELS)
    except PictureError as error:
        if error.reason == "too many pixels":
            raise UsageError(
                f"{place}: {path} is too large: {error}",
                cure="make it smaller: the model sees references at a few hundred pixels",
            ) from error
        raise UsageError(
            f"{place}: {path} is no readable picture: {error}",
            cure="PNG, JPEG, WebP and TIFF are read, among others",
        ) from error
    for oddity in picture.oddities:
        print(f"warning: {place}: {path}: {oddity}", file=sys.stderr)
    return picture

"""Pictures and masks of others that go into a shard as they are, where a shard may hold them.

A shard has RGB JPEGs, masks as PNGs of 1 bit, and cut-outs as RGBA PNGs; `imig validate` asks for
that. What is so already is looked through for damage and its bytes are kept; what is not is
written anew.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from imig.checks.pictures import png_problem
from imig.layout.masks import Mask
from imig.pictures import FORMATS, OpenedPicture, PictureError, open_picture, why_undecodable
from imig.sample import image_to_jpeg, image_to_mask, mask_to_png
from imig.schema import MAX_PIXELS, MAX_SIDE, Box

_OPAQUE = [255 * (value > 127) for value in range(256)]


@dataclass(frozen=True)
class Passed:
    """A picture for a shard."""

    data: bytes
    size: tuple[int, int]
    """(width, height)."""
    subject: Image.Image | None = None
    """Of mode "1": a mask itself, or where a cut-out is opaque; never empty. None for a JPEG."""
    anew: bool = False
    """Its bytes are not those that were there."""

    @cached_property
    def bounds(self) -> Box:
        """Of the subject; all of a JPEG."""
        bounds = None if self.subject is None else self.subject.getbbox()
        return bounds or (0, 0, *self.size)

    @cached_property
    def mask(self) -> Mask:
        """The subject as an array; of a JPEG there is none."""
        assert self.subject is not None, "a mask or a cut-out"
        return image_to_mask(self.subject)


def pass_jpeg(data: bytes) -> Passed:
    """A picture as an RGB JPEG, not turned, whatever its metadata say: boxes are of its pixels.

    Raises PictureError for what is damaged, none, or too large.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.size)
            size = image.size
            if image.format == "JPEG" and image.mode == "RGB":
                # At an eighth of its size all data are read and every damage is seen, for a third
                # of the time (`imig.checks.pictures` does the same).
                image.draft(None, (max(size[0] // 8, 1), max(size[1] // 8, 1)))
                image.load()
                return Passed(data, size)
            return Passed(image_to_jpeg(image.convert("RGB")), size, anew=True)
    except PictureError:
        raise
    except Exception as error:
        # Of damaged data Pillow's decoders raise almost anything.
        raise PictureError(why_undecodable(error)) from error


def pass_mask(data: bytes) -> Passed:
    """A mask as a PNG of 1 bit. Raises as `pass_jpeg` does, and for a mask that is empty."""
    as_it_is = _stored_mask(data)
    if as_it_is is not None:
        return _not_empty(Passed(data, as_it_is.size, as_it_is))
    mask = open_picture(data, check_size=_check_size).to_mask()
    image = Image.fromarray(mask)
    return _not_empty(Passed(mask_to_png(mask), image.size, image, anew=True))


def _stored_mask(data: bytes) -> Image.Image | None:
    """A sound PNG of 1 bit; None for all others, which take the long way."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode != "1":
                return None
            _check_size(image.size)
            image.load()
            return image if png_problem(data) is None else None
    except PictureError:
        raise
    except Exception:  # of damaged data Pillow's decoders raise almost anything
        return None


def pass_cut_out(data: bytes) -> Passed:
    """A cut-out as an RGBA PNG. Raises as `pass_mask` does, and without transparency."""
    opened = open_picture(data, check_size=_check_size)
    image = opened.image
    if image.format == "PNG" and image.mode == "RGBA" and png_problem(data) is None:
        return _not_empty(Passed(data, image.size, _opaque(image)))
    image = _with_transparency(opened)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return _not_empty(Passed(buffer.getvalue(), image.size, _opaque(image), anew=True))


def _with_transparency(opened: OpenedPicture) -> Image.Image:
    image = opened.to_rgb_or_rgba()
    if image.mode != "RGBA":
        raise PictureError("it has no transparency")
    return image


def _opaque(image: Image.Image) -> Image.Image:
    return image.getchannel("A").point(_OPAQUE, "1")


def _not_empty(passed: Passed) -> Passed:
    if passed.subject is not None and passed.subject.getbbox() is None:
        raise PictureError("nothing of it is the subject: it is empty")
    return passed


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS or max(size) > MAX_SIDE:
        raise PictureError(
            f"its {width}x{height} pixels are more than a scene may have: {MAX_PIXELS}, or "
            f"{MAX_SIDE} a side"
        )

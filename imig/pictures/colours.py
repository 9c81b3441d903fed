"""Colour profiles: a picture's colours -> sRGB.

Conversion is relative colorimetric with black point compensation. Cameras' and screens' profiles
(matrix and curves) have no other intent; printers' have a perceptual one, but what it does is each
vendor's own taste, and it reaches black only with black point compensation. It is also what image
editors use where nobody chooses.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

SRGB_TOLERANCE = 2
"""Of 255: a profile that moves no colour by more is sRGB (our choice). The many files that are
called sRGB differ by 1 or 2, curves of gamma 2.2 by 6, Adobe RGB and Display P3 by 20 and more.
Names are not looked at: they are missing, translated, and at times wrong."""

_SPACE_TO_MODE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Colour space of a profile -> Pillow's mode of the pictures that it describes."""


class UnusableProfileError(ValueError):
    """The profile is damaged, or describes other pictures than the one it is in."""


def profile_to_transform(profile: bytes, *, image_mode: str) -> ImageCms.ImageCmsTransform | None:
    """What converts a picture's colours into sRGB; None where they are sRGB already.

    Parameters
    ----------
    profile:
        ICC profile.
    image_mode:
        Pillow's mode of the picture.

    Raises
    ------
    UnusableProfileError
        When the profile cannot be read, or is for another kind of picture.
    """
    if image_mode == "LAB":
        return None  # needs no profile to mean colours, and is no profile's input
    transform, mode = _make_transform(profile)
    if (mode == "CMYK") != (image_mode == "CMYK") or (mode == "L" and not _is_grey(image_mode)):
        raise UnusableProfileError(f"a profile of {mode} in a picture of {image_mode}")
    return transform


def convert_to_srgb(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    """RGB, or RGBA where the picture has transparency, which is not touched."""
    mode = transform.input_mode
    if not image.has_transparency_data:
        return _apply(image if image.mode == mode else image.convert(mode), transform)
    alpha = image.convert("RGBA").getchannel("A")
    colours = image.convert("RGBA").convert(mode)
    converted = _apply(colours, transform)
    converted.putalpha(alpha)
    return converted


def _apply(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = Image.new("RGB", image.size)
    # `ImageCms.applyTransform` would put the new profile into the picture's information.
    transform.apply(image, converted)
    return converted


@lru_cache(maxsize=8)
def _make_transform(profile: bytes) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """The transform (None: sRGB already) and the mode of the pictures it takes.

    Kept, since most pictures of a collection have the same few profiles.
    """
    import io

    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _SPACE_TO_MODE.get(opened.profile.xcolor_space.strip())
        if mode is None:
            raise UnusableProfileError(f"a profile of {opened.profile.xcolor_space.strip()}")
        transform = ImageCms.buildTransform(
            opened,
            _srgb_profile(),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise UnusableProfileError(str(error)) from error
    return (None if mode != "CMYK" and _changes_nothing(transform, mode) else transform), mode


@lru_cache(maxsize=1)
def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Try all greys, and for RGB a grid of colours."""
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    levels = np.arange(0, 256, 51, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    before = greys if mode == "L" else np.concatenate([greys, grid])
    given = Image.fromarray(before[None]).convert(mode)
    after = np.asarray(_apply(given, transform), dtype=np.int16)[0]
    return bool(np.abs(after - before).max() <= SRGB_TOLERANCE)


def _is_grey(mode: str) -> bool:
    return mode in ("1", "L", "LA", "La", "I", "F") or mode.startswith("I;16")

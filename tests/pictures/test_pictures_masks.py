"""Masks of every depth and mode: white is the subject."""

import numpy as np
import pytest
from PIL import Image
from support.picture_files import saved

from imig.pictures import open_picture

SUBJECT = np.zeros((12, 16), bool)
SUBJECT[2:9, 3:11] = True


def grey(value: float, dtype: str, format: str = "PNG") -> bytes:
    return saved(Image.fromarray((SUBJECT * value).astype(dtype)), format)


def coloured(colour: tuple[int, ...], mode: str, *, ground: tuple[int, ...]) -> bytes:
    image = Image.new(mode, (16, 12), ground)
    image.paste(colour, (3, 2, 11, 9))
    return saved(image, "PNG")


def palette(colours: list[int]) -> bytes:
    image = Image.fromarray(SUBJECT.astype(np.uint8)).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(colours)
    return saved(image, "PNG")


def all_bits() -> bytes:
    return saved(Image.fromarray(np.where(SUBJECT, -1, 0).astype(np.int32)), "TIFF")


def not_a_number() -> bytes:
    values = np.where(SUBJECT, 1.0, np.nan).astype(np.float32)
    return saved(Image.fromarray(values), "TIFF")


CASES = {
    "8-bit": grey(255, "uint8"),
    "8-bit-of-one": grey(1, "uint8"),
    "8-bit-grey": grey(200, "uint8"),
    "1-bit": saved(Image.fromarray(SUBJECT), "PNG"),
    "16-bit": grey(65535, "uint16"),
    "16-bit-of-255": grey(255, "uint16"),
    "16-bit-of-one": grey(1, "uint16"),
    "16-bit-tiff": grey(65535, "uint16", "TIFF"),
    "32-bit-of-255": grey(255, "int32", "TIFF"),
    "32-bit-of-one": grey(1, "int32", "TIFF"),
    "32-bit-of-65535": grey(65535, "int32", "TIFF"),
    "32-bit-of-the-highest": grey(2**31 - 1, "int32", "TIFF"),
    "32-bit-of-all-bits": all_bits(),
    "float-of-1": grey(1.0, "float32", "TIFF"),
    "float-of-255": grey(255.0, "float32", "TIFF"),
    "float-not-a-number": not_a_number(),
    "palette": palette([0, 0, 0, 255, 255, 255]),
    "palette-of-one": palette([0, 0, 0, 1, 1, 1]),
    "palette-coloured": palette([0, 0, 0, 128, 0, 0]),
    "rgb": coloured((255, 255, 255), "RGB", ground=(0, 0, 0)),
    "red": coloured((255, 0, 0), "RGB", ground=(0, 0, 0)),
    "grey-and-alpha": coloured((255, 255), "LA", ground=(0, 255)),
    "white-on-nothing": coloured((255, 255, 255, 255), "RGBA", ground=(255, 255, 255, 0)),
    "black-on-nothing": coloured((0, 0, 0, 255), "RGBA", ground=(0, 0, 0, 0)),
    "white-on-black-opaque": coloured((255, 255, 255, 255), "RGBA", ground=(0, 0, 0, 255)),
}


@pytest.mark.parametrize("name", CASES)
def test_masks_of_every_kind(name: str) -> None:
    assert np.array_equal(open_picture(CASES[name]).to_mask(), SUBJECT)


@pytest.mark.parametrize(
    "image",
    [Image.new("L", (16, 12), 127), Image.new("L", (16, 12), 1), Image.new("I;16", (16, 12)),
     Image.new("RGBA", (16, 12))],
    ids=["grey", "one-everywhere", "zeros", "transparent"],
)  # fmt: skip
def test_dark_masks_are_empty(image: Image.Image) -> None:
    assert not open_picture(saved(image, "PNG")).to_mask().any()


def test_a_jpeg_mask_keeps_its_edge() -> None:
    data = saved(Image.fromarray(SUBJECT.astype(np.uint8) * 255), "JPEG", quality=95)
    assert np.array_equal(open_picture(data).to_mask(), SUBJECT)

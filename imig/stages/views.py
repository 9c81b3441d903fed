"""Read the views of an identity out of a sample's members."""

from __future__ import annotations

from PIL import Image

from imig.layout.masks import Mask
from imig.sample import Sample, decode_image, png_to_mask
from imig.schema import Reference


def read_reference(sample: Sample, reference: Reference) -> tuple[Image.Image, Mask | None]:
    """A reference's picture as RGB, and its subject's mask where it has one."""
    image = decode_image(sample.files[reference.image])
    return image, None if reference.mask is None else png_to_mask(sample.files[reference.mask])

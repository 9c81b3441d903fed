"""Check one picture or one mask of a sample."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from imig.checks.faults import Fault
from imig.layout.boxes import lies_within
from imig.layout.masks import rle_to_mask
from imig.layout.run_lengths import MaskExtent
from imig.pictures import FORMATS, why_undecodable
from imig.schema import Box, EncodingRecord, MaskRLE

MIN_SUBJECT_IOU = 0.25
"""Of a reference's subject box and its mask's bounds (our choice). They are equal where the box was
measured on the mask; a detector's box may be larger, and the released filter accepts masks that
cover 60 % of it in width and height (0.36)."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass
class Findings:
    """What the check of one sample collects."""

    shard: str
    sample: str
    faults: list[Fault] = field(default_factory=list)
    images: int = 0
    masks: int = 0
    encoding: EncodingRecord | None = None
    """What the sample says of how it was encoded; None where it is not, or unreadably."""

    def add(self, kind: str, message: str) -> None:
        self.faults.append(Fault(kind, message, shard=self.shard, sample=self.sample))


def check_image(
    findings: Findings, name: str, data: bytes, *, size: tuple[int, int], mode: str, kind: str
) -> Image.Image | None:
    """Decode a picture; the image if it is what the JSON says, else None. JPEGs come reduced.

    `size` is (width, height), `mode` and `kind` are Pillow's colour mode and file format. Stricter
    than `imig.pictures`: whatever another reader of the shard would stumble over is a fault, even
    where the pixels themselves are sound.
    """
    findings.images += 1
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.format != kind or image.mode != mode:
                stored = f"{image.format} {image.mode}"
                findings.add("image-format", f"{name} is {stored} instead of {kind} {mode}")
                return None
            if image.size != size:
                stored, stated = (f"{width}x{height}" for width, height in (image.size, size))
                findings.add("image-size", f"{name} is {stored}, stated is {stated}")
                return None
            # All of a JPEG's data is read at an eighth of its size too, and every damage seen; what
            # is left out is arithmetic on it, which cannot fail and takes most of the time.
            image.draft(None, (max(size[0] // 8, 1), max(size[1] // 8, 1)))
            image.load()
            if kind == "PNG" and (problem := png_problem(data)):
                findings.add("undecodable-image", f"{name}: {problem}")
                return None
            return image
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more on
        # damaged data; whatever it is, the picture does not decode.
        findings.add("undecodable-image", f"{name}: {why_undecodable(error)}")
        return None


def png_problem(data: bytes) -> str | None:
    """What is wrong with the chunks of a PNG, where a decoder that is not careful reads its pixels.

    The format is W3C's Portable Network Graphics: after 8 bytes, chunks of length, name, data and
    CRC-32, the last of them IEND.
    """
    position, name = len(_PNG_SIGNATURE), b""
    while position < len(data) and name != b"IEND":
        length, name = int.from_bytes(data[position : position + 4]), data[position + 4 :][:4]
        end = position + 12 + length
        if end > len(data):
            return f"its chunk {name.decode('ascii', 'backslashreplace')} is cut off"
        if zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return f"its chunk {name.decode('ascii', 'backslashreplace')} has a wrong checksum"
        position = end
    if name != b"IEND":
        return "its last chunk is missing"
    return None if position == len(data) else "there is more behind its last chunk"


def check_box(findings: Findings, what: str, box: Box | None, *, width: int, height: int) -> None:
    """The schema has checked the order of the corners; here, that they lie in the image."""
    if box is not None and (box[2] > width or box[3] > height):
        findings.add("box-outside-image", f"{what} {list(box)} in an image of {width}x{height}")


def check_instance_mask(
    findings: Findings,
    what: str,
    rle: MaskRLE,
    extent: MaskExtent | None,
    *,
    size: tuple[int, int],
    box: Box,
    area: int | None,
) -> None:
    """Run lengths of an instance: (width, height) `size` of the target, its box and its area.

    `extent` is what `imig.layout.run_lengths.mask_extents` says of them.
    """
    findings.masks += 1
    width, height = size
    if rle.size != (height, width):
        stated = f"{rle.size[1]}x{rle.size[0]}"
        findings.add("mask-size", f"{what}: mask of {stated} in an image of {width}x{height}")
        return
    if extent is None:
        message = f"mask run lengths do not describe a {width}x{height} image"
        findings.add("undecodable-mask", f"{what}: {message}")
        return
    if extent.bounds is None:
        findings.add("empty-mask", f"{what}: the mask is empty")
        return
    pixels = extent.area
    if not lies_within(extent.bounds, box):
        x1, y1, x2, y2 = box
        outside = pixels - int(np.count_nonzero(rle_to_mask(rle)[y1:y2, x1:x2]))
        findings.add(
            "mask-outside-box", f"{what}: {outside} of {pixels} pixels outside {list(box)}"
        )
    if area is not None and area != pixels:
        findings.add("mask-area", f"{what}: area {area}, but the mask has {pixels} pixels")


def check_subject(findings: Findings, what: str, mask: Image.Image, *, subject_box: Box) -> None:
    """The mask of a reference, of mode "1", against its subject box."""
    findings.masks += 1
    bounds = mask.getbbox()
    if bounds is None:
        findings.add("empty-mask", f"{what}: the mask is empty")
        return
    x1, y1, x2, y2 = subject_box
    # With the bounds inside the box, the IoU is the quotient of the areas.
    share = (bounds[2] - bounds[0]) * (bounds[3] - bounds[1]) / ((x2 - x1) * (y2 - y1))
    if not lies_within(bounds, subject_box) or share < MIN_SUBJECT_IOU:
        findings.add(
            "subject-box", f"{what}: box {list(subject_box)}, but the mask spans {list(bounds)}"
        )

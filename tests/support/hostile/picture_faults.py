"""Pictures that are none, or others than the JSON says."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

from PIL import Image

from support.hostile.planted import ONLY_VALIDATE, PICTURES, RECORD, Group, Part
from support.hostile.victim import OTHER, SAMPLE, SHARD, Json, Victim
from support.tiny_dataset import SIZE

PICTURE = Group(
    "Pictures",
    "Only formats of pictures are decoded, and a stored one only where it has the format, the "
    "colour mode and the size that its sample's JSON gives; so a few bytes never become gigabytes. "
    "`records` and `stats` decode none.",
)


def _of(member: str) -> Part:
    return PICTURES.naming(SHARD, SAMPLE, member)


_FACE = PICTURES.without("encode", "train").naming(SHARD, SAMPLE, "face00.png")
"""An aligned face is trained with only where the target's face is known."""
_DISREGARDED = ONLY_VALIDATE.naming(SHARD, SAMPLE, "ref00.mask.png")
"""What does not touch the pixels."""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int,
    height: int,
    *,
    colour: int = 2,
    depth: int = 8,
    pixels: bytes = b"",
    before: bytes = b"",
) -> bytes:
    """A PNG that says it has that size; `before` are chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = _chunk(b"IDAT", zlib.compress(pixels or bytes(4096)))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + before + data + _chunk(b"IEND", b"")


def _saved(mode: str, size: tuple[int, int], form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, form, **options)
    return buffer.getvalue()


def _first_reference(scene: Json) -> Json:
    reference: Json = scene["instances"][0]["references"][0]
    return reference


def _target(victim: Victim, data: bytes) -> None:
    victim.put("target.jpg", data)


def _reference_size(victim: Victim) -> tuple[int, int]:
    reference = _first_reference(victim.scene())
    return reference["width"], reference["height"]


def _white(size: tuple[int, int]) -> bytes:
    """Rows of one bit a pixel, all set."""
    width, height = size
    return (b"\0" + b"\xff" * -(-width // 8)) * height


def _mask(victim: Victim, make: Callable[[tuple[int, int]], bytes]) -> None:
    victim.put("ref00.mask.png", make(_reference_size(victim)))


SCRIPTS = {
    "eps": ("EPS, which Pillow hands to Ghostscript",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 64\n%%EndComments\nshowpage\n%%EOF\n"),
    "svg": ("SVG that loads a file of the machine",
            b'<svg xmlns="http://www.w3.org/2000/svg" width="96" height="64"><image '
            b'href="file:///etc/passwd" width="96" height="64"/></svg>'),
    "svg-entities": ("SVG with entities within entities",
                     b'<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><svg>&b;</svg>'),
    "pdf": ("PDF", b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"),
    "html": ("HTML", b"<html><script>alert(1)</script></html>"),
    "executable": ("a program", b"\x7fELF\x02\x01\x01" + bytes(200)),
    "zip": ("a zip", b"PK\x03\x04" + bytes(200)),
    "wmf": ("a Windows metafile", b"\xd7\xcd\xc6\x9a" + bytes(200)),
    "fits": ("FITS", b"SIMPLE  =                    T" + b" " * 2850),
    "nothing": ("nothing: a file of no byte", b""),
    "zeros": ("4,000 zeros", bytes(4000)),
    "noise": ("4,000 bytes of noise", bytes(pow(7, n, 251) for n in range(4000))),
    "jpeg-header-alone": ("the first 20 bytes of a JPEG", _saved("RGB", SIZE, "JPEG")[:20]),
}  # fmt: skip
for _kind, (_what, _data) in SCRIPTS.items():
    PICTURE.add(
        f"target-{_kind}", f"{_what}, named .jpg", _of("target.jpg"), partial(_target, data=_data)
    )

FORMATS = ("WEBP", "PNG", "TIFF", "BMP", "GIF", "PPM", "PCX", "ICO", "TGA", "SGI", "JPEG2000",
           "DDS", "ICNS", "AVIF")  # fmt: skip
for _form in FORMATS:
    PICTURE.add(
        f"target-{_form.lower()}",
        f"{_form}, named .jpg",
        _of("target.jpg"),
        lambda victim, form=_form: _target(  # type: ignore[misc]
            victim, _saved("P" if form in ("GIF", "PCX") else "RGB", SIZE, form)
        ),
    )


@PICTURE.fault(_of("target.jpg"))
def target_animation(victim: Victim) -> None:
    """an animation of 50 pictures, named .jpg"""
    frames = [Image.new("P", SIZE, n) for n in range(50)]
    _target(victim, _saved("P", SIZE, "GIF", save_all=True, append_images=frames))


MODES = {
    "cmyk": ("a JPEG of four inks", partial(_saved, "CMYK", SIZE, "JPEG")),
    "grey": ("a grey JPEG", partial(_saved, "L", SIZE, "JPEG")),
    "small": ("a target of 31x17", partial(_saved, "RGB", (31, 17), "JPEG")),
    "turned": ("a target of 64x96", partial(_saved, "RGB", SIZE[::-1], "JPEG")),
    "jpeg-65500": (
        "a JPEG of 65,500 x 65,500 pixels in 1 kB",
        lambda: _with_jpeg_size(_saved("RGB", SIZE, "JPEG"), 65_500, 65_500),
    ),
}


def _with_jpeg_size(data: bytes, width: int, height: int) -> bytes:
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


for _kind, (_what, _make) in MODES.items():
    PICTURE.add(
        f"target-{_kind}", _what, _of("target.jpg"),
        lambda victim, make=_make: _target(victim, make()),  # type: ignore[misc]
    )  # fmt: skip


@PICTURE.fault(_of("target.jpg"))
def target_cut_off(victim: Victim) -> None:
    """half of the target's JPEG"""
    data = victim.get("target.jpg")
    _target(victim, data[: len(data) // 2])


@PICTURE.fault(_of("target.jpg"))
def target_bomb(victim: Victim) -> None:
    """a PNG of 50,000 x 50,000 pixels in 100 bytes, in place of the target"""
    _target(victim, png(50_000, 50_000))


@PICTURE.fault(RECORD)
def target_bomb_told(victim: Victim) -> None:
    """the same, and the JSON agrees"""

    def grow(scene: Json) -> None:
        scene |= {"width": 50_000, "height": 50_000}
        for instance in scene["instances"]:
            instance |= {"mask": None, "area": None}

    _target(victim, png(50_000, 50_000))
    victim.edit_scene(grow)


@PICTURE.fault(_of("ref00.jpg"))
def reference_bomb(victim: Victim) -> None:
    """a bomb in place of a reference"""
    victim.put("ref00.jpg", png(50_000, 50_000))


@PICTURE.fault(_of("ref00.mask.png"))
def mask_bomb(victim: Victim) -> None:
    """a bomb of one bit a pixel in place of a reference's mask"""
    victim.put("ref00.mask.png", png(50_000, 50_000, colour=0, depth=1))


@PICTURE.fault(_FACE)
def face_bomb(victim: Victim) -> None:
    """a bomb in place of an aligned face"""
    victim.put("face00.png", png(50_000, 50_000, colour=6))


@PICTURE.fault(RECORD)
def references_heavy_together(victim: Victim) -> None:
    """30 references of 8,192 pixels a side: each is allowed, all take 6 GB"""
    picture = _saved("RGB", (8192, 8192), "JPEG", quality=1)
    mask = _saved("1", (8192, 8192), "PNG")

    def add(scene: Json) -> None:
        one = _first_reference(scene)
        for number in range(10, 40):
            name = f"ref{number:02d}"
            names = {"name": name, "image": f"{name}.jpg", "mask": f"{name}.mask.png"}
            size = {"width": 8192, "height": 8192, "subject_box": [0, 0, 8192, 8192]}
            scene["instances"][0]["references"].append(one | names | size)
            victim.members += [(f"{SAMPLE}.{name}.jpg", picture)]
            victim.members += [(f"{SAMPLE}.{name}.mask.png", mask)]

    victim.edit_scene(add)
    victim.members.sort()


@PICTURE.fault(_of("ref00.jpg"))
def reference_of_another_sample_s_size(victim: Victim) -> None:
    """another sample's target in place of a reference"""
    victim.put("ref00.jpg", victim.get("target.jpg", sample=OTHER))


@PICTURE.fault(_FACE)
def face_without_alpha(victim: Victim) -> None:
    """an aligned face without transparency"""
    victim.put("face00.png", _saved("RGB", (32, 32), "PNG"))


MASKS = {
    "mask-16-bit": ("a mask of 16 bits", lambda size: _saved("I;16", size, "PNG")),
    "mask-palette": ("a mask of palette colours", lambda size: _saved("P", size, "PNG")),
    "mask-8-bit": ("a mask of 8 bits", lambda size: _saved("L", size, "PNG")),
    "mask-jpeg": ("a mask as JPEG", lambda size: _saved("L", size, "JPEG")),
    "mask-small": ("a mask of 7x5", lambda size: _saved("1", (7, 5), "PNG")),
    "mask-text-bomb": (
        "a mask whose comment unpacks to 100 MB",
        lambda size: png(
            *size, colour=0, depth=1,
            pixels=_white(size),
            before=_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9)),
        ),
    ),
    "mask-profile-bomb": (
        "a mask whose colour profile unpacks to 100 MB",
        lambda size: png(
            *size, colour=0, depth=1,
            pixels=_white(size),
            before=_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(100_000_000), 9)),
        ),
    ),
}  # fmt: skip
for _kind, (_what, _mask_of) in MASKS.items():
    _part = _DISREGARDED if _kind.endswith("-bomb") else _of("ref00.mask.png")
    PICTURE.add(_kind, _what, _part, partial(_mask, make=_mask_of))


def _broken(victim: Victim, *, find: bytes, at: int, put: bytes) -> None:
    data = bytearray(victim.get("ref00.mask.png"))
    start = data.index(find) + at
    data[start : start + len(put)] = put
    victim.put("ref00.mask.png", bytes(data))


BROKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "mask-without-pixels": ("a mask whose chunk of pixels has another name",
                            {"find": b"IDAT", "at": 0, "put": b"ID\0T"}),
    "mask-checksum": ("a mask whose header has a wrong checksum",
                      {"find": b"IHDR", "at": 17, "put": b"\xff\xff\xff\xff"}),
    "mask-chunk-endless": ("a mask with a chunk of 4 GB",
                           {"find": b"IDAT", "at": -4, "put": b"\xff\xff\xff\xff"}),
    "mask-pixels-checksum": ("a mask whose pixels have a wrong checksum",
                             {"find": b"IEND", "at": -8, "put": b"\0\0\0\0"}),
    "mask-interlaced": ("a mask of an interlacing that does not exist",
                        {"find": b"IHDR", "at": 16, "put": b"\x07"}),
}  # fmt: skip
DISREGARDED = {"mask-chunk-endless", "mask-pixels-checksum"}
for _kind, (_what, _options) in BROKEN.items():
    _part = _DISREGARDED if _kind in DISREGARDED else _of("ref00.mask.png")
    PICTURE.add(_kind, _what, _part, partial(_broken, **_options))


_SHOWN = Part(frozenset({"validate", "encode", "train"}), (SHARD, SAMPLE, "ref00"))


@PICTURE.fault(_SHOWN)
def mask_without_subject(victim: Victim) -> None:
    """a mask without a pixel: nothing to make a layout of"""
    _mask(victim, lambda size: _saved("1", size, "PNG"))

"""HEIC: orientation, colours, transparency, bounds; and what is said without pillow-heif."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from imig.pictures import HEIF_CURE, PictureError, decode_pixels, has_heif, open_picture, opening
from imig.stages.base import BuildContext
from imig.stages.pictures import bytes_to_target
from imig.stages.source import SourceStage
from imig.stages.sources.config import FolderSource

pillow_heif = pytest.importorskip("pillow_heif")


def corners(*, mode: str = "RGB") -> Image.Image:
    """128 x 96: red top left, else grey."""
    image = Image.new(mode, (128, 96), (90, 90, 90, 255)[: len(mode)])
    image.paste((230, 20, 20, 255)[: len(mode)], (0, 0, 64, 48))
    return image


def to_heif(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=95, **options)
    return file.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(open_picture(data).to_rgb()).astype(int)


def is_red(pixel: np.ndarray) -> bool:
    return bool(pixel[0] > pixel[1] + 80)


def test_heic_opens() -> None:
    assert has_heif()
    found = pixels(to_heif(corners()))
    assert found.shape == (96, 128, 3)
    assert np.abs(found - np.asarray(corners()).astype(int)).mean() < 4
    target = bytes_to_target(to_heif(corners()), min_side=64, max_side=100, max_pixels=10**6)
    assert (target.width, target.height, target.oddities) == (100, 75, ())
    assert target.data.startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    ("orientation", "size", "red"),
    [(1, (128, 96), (8, 8)), (3, (128, 96), (120, 88)), (6, (96, 128), (88, 8)),
     (8, (96, 128), (8, 120))],
)  # fmt: skip
def test_heic_is_turned_once(orientation: int, size: tuple[int, int], red: tuple[int, int]) -> None:
    """The encoder makes EXIF's orientation the container's, and keeps the EXIF as telephones do."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    assert has_heif()  # which makes Pillow know the format
    corners().save(file, "HEIF", quality=95, exif=exif.tobytes())
    assert b"irot" in file.getvalue() or b"imir" in file.getvalue() or orientation == 1
    opened = open_picture(file.getvalue())
    assert opened.image.size == size
    assert is_red(pixels(file.getvalue())[red[1], red[0]])
    assert not opened.oddities


def test_colours_of_heic_become_srgb() -> None:
    """A profile that swaps nothing but the curve: Lab's L stays, pixels change."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain, same = to_heif(corners()), corners()
    same.info["icc_profile"] = srgb
    assert open_picture(to_heif(same)).transform is None
    assert open_picture(plain).transform is None
    # Linear instead of sRGB's curve: the red's primaries stay, greys become lighter.
    linear = bytearray(srgb)
    start = linear.index(b"para") if b"para" in linear else linear.index(b"curv")
    linear[start : start + 16] = b"para" + bytes(4) + struct.pack(">HHi", 0, 0, 1 << 16)
    image = corners()
    image.info["icc_profile"] = bytes(linear)
    found = pixels(to_heif(image))
    assert found[80, 120].mean() > pixels(plain)[80, 120].mean() + 40


def test_transparent_heic_lies_on_white() -> None:
    image = corners(mode="RGBA")
    image.paste((0, 0, 0, 0), (64, 48, 128, 96))
    assert pixels(to_heif(image))[90, 120].min() > 240


def test_bounds_hold_for_heic() -> None:
    data = to_heif(corners())
    with pytest.raises(PictureError) as caught:
        open_picture(data, max_pixels=1000)
    assert caught.value.reason == "too many pixels"
    with pytest.raises(PictureError, match="image too small"):
        bytes_to_target(data, min_side=97, max_side=1000, max_pixels=10**6)
    # A header that states a size which the coded picture has not.
    lying = bytearray(data)
    at = lying.index(b"ispe") + 8
    lying[at : at + 8] = struct.pack(">II", 60_000, 60_000)
    with pytest.raises(PictureError):
        open_picture(bytes(lying))


def test_damaged_heic_is_turned_down() -> None:
    data = to_heif(corners())
    rng = np.random.default_rng(0)
    reasons = set()
    for _ in range(60):
        broken = bytearray(data)
        for place in rng.integers(12, len(data), 8):
            broken[place] = rng.integers(256)
        try:
            open_picture(bytes(broken), max_pixels=10**6)
        except PictureError as error:
            reasons.add(error.reason)
    assert "unreadable image" in reasons
    assert reasons <= {"unreadable image", "too many pixels"}
    with pytest.raises(PictureError):
        open_picture(data[: len(data) // 2])


def test_shards_hold_no_heic() -> None:
    with pytest.raises(OSError, match="no format that imig reads"):
        decode_pixels(to_heif(corners()))


def test_without_pillow_heif_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "has_heif", lambda: False)
    with pytest.raises(PictureError) as caught:
        open_picture(to_heif(corners()))
    assert caught.value.reason == "unreadable image"
    assert caught.value.figures["cure"] == f"it is HEIC: {HEIF_CURE}"


def test_heic_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "IMG_0001.HEIC").write_bytes(to_heif(corners()))
    (tmp_path / "renamed.jpg").write_bytes(to_heif(corners()))
    config = FolderSource(kind="folder", path=str(tmp_path), min_side=64)
    stage = SourceStage(config, BuildContext(recipe_seed=0, subset="basic"))
    assert stage.remarks() == []
    samples = stage(stage.enumerate(0, stage.count()))
    assert [one.reject for one in samples] == [None, None]
    assert samples[0].files["target.jpg"] == samples[1].files["target.jpg"]

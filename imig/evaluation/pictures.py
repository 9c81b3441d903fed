"""Generated pictures: which file belongs to which case."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from imig.display.result_files import read_record
from imig.errors import DataError, UsageError
from imig.evaluation.case import Case, Resampling
from imig.pictures import PictureError, open_picture
from imig.regular_file import open_regular_file, read_regular_file
from imig.schema import MAX_PIXELS

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
BESIDE = ("-layout", ".compare")
"""How names end, before the ending, that `imig generate` gives to what it writes beside results."""

MAX_BYTES: Final = 4 * MAX_PIXELS
"""Of a file: more is no picture that is measured."""
OF_ONE_PICTURE = ("caption", "seed", "case", "given_sha256")
"""Keys of a picture's record that differ from picture to picture."""


@dataclass(frozen=True)
class GeneratedPicture:
    """A picture of a case."""

    case: str
    path: Path

    def sha256(self) -> str | None:
        """Of the file's bytes; None where it cannot be read."""
        try:
            with open_regular_file(self.path) as file:
                digest = hashlib.sha256()
                while data := file.read(1 << 20):
                    digest.update(data)
                return digest.hexdigest()
        except OSError:
            return None

    def data(self) -> bytes:
        """The file's bytes. Raises DataError when it cannot be read."""
        try:
            return read_regular_file(self.path, max_bytes=MAX_BYTES)
        except OSError as error:
            raise self._unreadable(error.strerror or str(error)) from error

    def read(self, case: Case) -> Image.Image:
        """What `decode` makes of the file. Raises DataError when it cannot be read."""
        return self.decode(self.data(), case)

    def decode(self, data: bytes, case: Case) -> Image.Image:
        """RGB in the case's size; another size is scaled to it, or left as it is, as the case says.

        Raises
        ------
        DataError
            When it is damaged, too large, or no picture.
        """
        try:
            picture = open_picture(data, max_pixels=MAX_PIXELS).to_rgb()
        except (OSError, PictureError) as error:
            raise self._unreadable(str(error)) from error
        if case.any_size:
            return picture
        return resize(picture, case.size, resampling=case.resampling)

    def _unreadable(self, why: str) -> DataError:
        return DataError(
            f"{self.path} cannot be read: {why}", cure="draw it again, or take it away"
        )


def resize(
    picture: Image.Image, size: tuple[int, int], *, resampling: Resampling = "lanczos"
) -> Image.Image:
    """A picture in another size, (width, height)."""
    if picture.size == size:
        return picture
    if resampling == "lanczos":
        return picture.resize(size, Image.Resampling.LANCZOS)
    # Pillow's own is a mean over all pixels when it makes smaller, and rounds down when it is not
    pixels = np.asarray(picture, np.float32)
    for axis, wanted in ((0, size[1]), (1, size[0])):
        length = pixels.shape[axis]
        places = np.clip((np.arange(wanted) + 0.5) * length / wanted - 0.5, 0, length - 1)
        before = places.astype(int)
        after = np.minimum(before + 1, length - 1)
        share = (places - before).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (-1, 1))
        pixels = pixels.take(before, axis) * (1 - share) + pixels.take(after, axis) * share
    return Image.fromarray(np.floor(pixels + 0.5).astype(np.uint8))


def list_pictures(folder: Path) -> list[Path]:
    """The pictures right in a folder, sorted; not what `imig generate` writes beside results.

    Raises
    ------
    UsageError
        There is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder {folder}",
            cure="give the folder of the generated pictures; `imig bench` makes one",
        )
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in ENDINGS and not path.stem.endswith(BESIDE) and path.is_file()
    )
    if not found:
        raise UsageError(
            f"{folder} has no picture in it",
            cure=f"pictures end in {', '.join(ENDINGS)}; folders in it are not looked into",
        )
    return found


def how_drawn(paths: Sequence[Path]) -> dict[str, Any]:
    """What the pictures' metadata say alike of how they were drawn: settings, adapter, weights.

    Empty where a picture has nothing of imig in it; what differs between pictures is left out, but
    named in `differing`.
    """
    records = []
    for path in paths:
        record = read_record(path)
        if record is None:
            return {}
        records.append({key: one for key, one in record.items() if key not in OF_ONE_PICTURE})
    first = records[0]
    alike = {key: one for key, one in first.items() if all(r.get(key) == one for r in records)}
    differing = sorted({key for record in records for key in record} - set(alike))
    return {**alike, **({"differing": differing} if differing else {})}


def stem_to_case(stem: str, ids: Collection[str]) -> str | None:
    """``basic-00000042`` or, with a seed, ``basic-00000042-7`` -> the case's id, or None."""
    if stem in ids:
        return stem
    before, dash, seed = stem.rpartition("-")
    return before if dash and seed.isdecimal() and before in ids else None


def missing_cases(pictures: Sequence[GeneratedPicture], ids: Sequence[str]) -> list[str]:
    """Ids of cases without a picture, in their order."""
    drawn = {one.case for one in pictures}
    return [one for one in ids if one not in drawn]

"""Generated pictures: which file belongs to which case."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from imig.errors import DataError, UsageError
from imig.pictures import PictureError, open_picture

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
BESIDE = ("-layout", ".compare")
"""How names end, before the ending, that `imig generate` gives to what it writes beside results."""


@dataclass(frozen=True)
class GeneratedPicture:
    """A picture of a case."""

    case: str
    path: Path

    def sha256(self) -> str:
        """Of the file's bytes. Raises DataError when it cannot be read."""
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error}") from error

    def read(self, size: tuple[int, int]) -> Image.Image:
        """RGB in the case's size, (width, height); another size is scaled to it.

        Raises
        ------
        DataError
            When it is damaged, or no picture.
        """
        try:
            picture = open_picture(self.path.read_bytes()).to_rgb()
        except (OSError, PictureError) as error:
            raise DataError(
                f"{self.path} cannot be read: {error}", cure="draw it again, or take it away"
            ) from error
        if picture.size == size:
            return picture
        return picture.resize(size, Image.Resampling.LANCZOS)


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

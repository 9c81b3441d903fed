"""References for a benchmark that has none of its own: COCO-MIG, with subjects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from imig.contextgen.picture_file import read_mask, read_picture
from imig.errors import DataError, UsageError
from imig.evaluation.case import CaseReference, Mask
from imig.layout.placement import Rectangle
from imig.schema import first_problem

LIST = "bench_instance_categories_filtered.json"
PICTURES = "reference_images"
MASKS = "reference_masks"
MASK_ENDINGS = (".png", ".jpg")


class _Entry(BaseModel):
    """A phrase, and which of its pictures are any good."""

    model_config = ConfigDict(frozen=True)

    index: int
    caption: str
    available_mask_image: tuple[int, ...] = ()

    def picture(self, number: int) -> str:
        """Name of a picture's file, without its ending."""
        return f"{self.index:04d}_{number:02d}_{'_'.join(self.caption.split())}"


class ReferencePack:
    """Pictures by phrase, in the form in which ContextGen's authors publish those for COCO-MIG.

    The folder has a list of phrases (`LIST`), pictures in `reference_images/` and masks in
    `reference_masks/`; several pictures a phrase.

    Raises
    ------
    UsageError
        The folder has no such list, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = folder / LIST
        try:
            data = path.read_bytes()
            entries = TypeAdapter(list[_Entry]).validate_python(json.loads(data))
        except ValidationError as error:
            raise UsageError(f"{path}: {first_problem(error)}", cure=_FORM) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"{path} cannot be read: {reason}", cure=_FORM) from error
        self._sha256 = hashlib.sha256(data).hexdigest()
        self._entries: Mapping[str, _Entry] = {
            _key(one.caption): one for one in entries if one.available_mask_image
        }

    def record(self) -> dict[str, Any]:
        """JSON values that say which pack it is."""
        return {"place": str(self._folder), "sha256": self._sha256}

    def has(self, phrase: str) -> bool:
        """Whether there is a picture for a phrase."""
        return _key(phrase) in self._entries

    def find(self, phrase: str, *, box: Rectangle) -> CaseReference:
        """The picture whose aspect is nearest to the box's; of several the first.

        Raises
        ------
        DataError
            There is none for the phrase, or none of those that the list names can be opened.
        """
        entry = self._entries.get(_key(phrase))
        if entry is None:
            raise DataError(
                f"{self._folder} has no reference for {phrase!r}",
                cure=f"{LIST} has to list the phrase, with pictures in `available_mask_image`",
            )
        wanted = (box[2] - box[0]) / (box[3] - box[1])
        aspects = {
            number: aspect
            for number in entry.available_mask_image
            if (aspect := _aspect(self._picture(entry, number))) is not None
        }
        if not aspects:
            raise DataError(
                f"none of the {len(entry.available_mask_image)} pictures for {phrase!r} can be "
                f"opened, {self._picture(entry, entry.available_mask_image[0])} for example",
                cure="is the pack unpacked whole?",
            )
        number = min(aspects, key=lambda one: abs(aspects[one] - wanted))
        return CaseReference(
            name=self._picture(entry, number).name, read=partial(self._read, entry, number)
        )

    def _picture(self, entry: _Entry, number: int) -> Path:
        return self._folder / PICTURES / f"{entry.picture(number)}.jpg"

    def _read(self, entry: _Entry, number: int) -> tuple[Image.Image, Mask | None]:
        path = self._picture(entry, number)
        masks = [
            self._folder / MASKS / f"{entry.picture(number)}_mask{ending}"
            for ending in MASK_ENDINGS
        ]
        mask_path = next((one for one in masks if one.exists()), masks[0])
        try:
            picture = read_picture(path, place=str(self._folder)).convert("RGB")
            mask = read_mask(mask_path, place=str(self._folder))
        except UsageError as error:
            raise DataError(error.message, cure="is the pack unpacked whole?") from error
        if mask.shape != (picture.height, picture.width):
            raise DataError(
                f"{mask_path} is {mask.shape[1]} x {mask.shape[0]}, its picture "
                f"{picture.width} x {picture.height}"
            )
        return picture, mask


_FORM = (
    f"--references takes a folder with {LIST}, {PICTURES}/ and {MASKS}/; docs/evaluation.md "
    "describes them"
)


def _key(phrase: str) -> str:
    return " ".join(phrase.lower().split())


def _aspect(path: Path) -> float | None:
    """Width by height, from the file's head; None when it cannot be opened."""
    try:
        with Image.open(path) as picture:
            return picture.width / picture.height
    except (OSError, ValueError):
        return None

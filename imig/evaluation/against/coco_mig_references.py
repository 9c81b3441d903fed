"""References of COCO-MIG's subject-driven variant: ContextGen's `cocomig_reference_pack`.

    bench_instance_categories_filtered.json   [{"index", "caption", "available_mask_image": [0, 3]}]
    reference_images/0007_03_a_red_cat.jpg    category 7, sample 3
    reference_masks/0007_03_a_red_cat_mask.png (or .jpg)

Of a label's pictures an instance gets the one whose shape is nearest to its box's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from imig.contextgen.picture_file import read_mask, read_picture
from imig.errors import DataError, UsageError
from imig.evaluation.against.published import read_json
from imig.evaluation.case import CaseReference, Mask
from imig.pictures.opening import DECODE_ERRORS
from imig.printable import shortened
from imig.regular_file import open_regular_file

CATEGORIES_NAME = "bench_instance_categories_filtered.json"
IMAGES, MASKS = "reference_images", "reference_masks"
FOLDER_NAME = "cocomig_reference_pack"
_CURE = "is it the file of ContextGen's cocomig_reference_pack?"


class ReferencePack:
    """The pack in a folder.

    Raises
    ------
    UsageError
        Its list of categories cannot be read, or has another form.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / CATEGORIES_NAME
        self._stems = dict(self._read())
        self._shapes: dict[str, float] = {}

    def reference_of(self, label: str, *, shape: float) -> CaseReference:
        """The picture of a label whose width over height is nearest to `shape`.

        Of equally near ones the first in the list, as in the released sampler.

        Raises
        ------
        DataError
            The pack has none, or it cannot be opened.
        """
        stems = self._stems.get(label)
        if not stems:
            raise DataError(
                f"{self.path} has no picture of {shortened(repr(label))}",
                cure="without references: --against coco-mig=FILE, the file of the cases alone",
            )
        stem = min(stems, key=lambda one: abs(self._shape(one) - shape))
        return CaseReference(name=f"{stem}.jpg", read=partial(self._read_picture, stem))

    def _read(self) -> Mapping[str, list[str]]:
        """Label -> names of its pictures, without their ending."""
        values = read_json(self.path, cure=_CURE)
        found: dict[str, list[str]] = {}
        for number, value in enumerate(values if isinstance(values, list) else [values]):
            index, caption, samples = (
                (value.get(key) for key in ("index", "caption", "available_mask_image"))
                if isinstance(value, dict)
                else (None, None, None)
            )
            if not (_is_count(index) and isinstance(caption, str)):
                raise UsageError(
                    f"{self.path}: entry {number}, {shortened(repr(value))}, has no index or no "
                    "caption",
                    cure=_CURE,
                )
            if samples is None:
                samples = []
            if not (isinstance(samples, list) and all(map(_is_count, samples))):
                raise UsageError(
                    f"{self.path}: entry {number} ({shortened(caption)}): available_mask_image is "
                    "no list of numbers",
                    cure=_CURE,
                )
            words = "_".join(caption.split())
            if "/" in words or "\0" in words:
                raise UsageError(
                    f"{self.path}: entry {number}: of {shortened(repr(caption))} no file has its "
                    "name",
                    cure=_CURE,
                )
            found[" ".join(caption.split())] = [f"{index:04d}_{one:02d}_{words}" for one in samples]
        return found

    def _shape(self, stem: str) -> float:
        """Width over height; only the file's head is read, once."""
        if stem not in self._shapes:
            path = self._image(stem)
            try:
                with open_regular_file(path) as file, Image.open(file) as image:
                    self._shapes[stem] = image.width / image.height
            except (*DECODE_ERRORS, Image.DecompressionBombError) as error:
                raise DataError(
                    f"{path}, a reference that {CATEGORIES_NAME} names, cannot be read: {error}",
                    cure="unpack the reference pack again, all of it",
                ) from error
        return self._shapes[stem]

    def _image(self, stem: str) -> Path:
        return self.folder / IMAGES / f"{stem}.jpg"

    def _mask(self, stem: str) -> Path:
        names = [self.folder / MASKS / f"{stem}_mask{ending}" for ending in (".png", ".jpg")]
        return next((one for one in names if one.exists()), names[0])

    def _read_picture(self, stem: str) -> tuple[Image.Image, Mask]:
        try:
            image = read_picture(self._image(stem), place=str(self.path)).convert("RGB")
            mask = read_mask(self._mask(stem), place=str(self.path))
        except UsageError as error:
            raise DataError(error.message, cure=error.cure) from error
        if mask.shape != (image.height, image.width):
            raise DataError(
                f"{self._mask(stem)} is {mask.shape[1]} x {mask.shape[0]}, its picture "
                f"{image.width} x {image.height}",
                cure="unpack the reference pack again, all of it",
            )
        return image, mask


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

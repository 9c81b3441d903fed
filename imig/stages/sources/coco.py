"""Pictures with annotations of COCO, LVIS, and whoever writes their format.

``images`` (id, file_name or coco_url, width, height), ``categories`` (id, name) and ``annotations``
(image_id, category_id, bbox as x, y, width, height; segmentation as polygons, run lengths or
compressed run lengths; iscrowd). Crowd regions are left out: they show no single thing. Other keys
say nothing here, LVIS's negative categories among them.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from imig.errors import DataError, UsageError
from imig.layout.masks import Mask, rle_to_mask
from imig.layout.polygons import polygons_to_mask, run_lengths_to_rle
from imig.paths import input_path
from imig.sample import Sample
from imig.schema import MaskRLE, Source
from imig.stages.base import Word
from imig.stages.pictures import PictureError, Target
from imig.stages.sources.annotated import UNUSABLE, Annotated, AnnotatedPictures, Annotation
from imig.stages.sources.base import (
    SourceError,
    name_some,
    printable,
    printable_path,
    set_licence,
)
from imig.stages.sources.coco_file import CocoFile, CocoImage, leads_outside, read_coco_file
from imig.stages.sources.config import CocoSource
from imig.text import to_stored

MAX_IDENTITY: Final = 200
"""Characters of an identity's name that are kept."""
_FIRST_SHOWN: Final = 3


class CocoPictures(AnnotatedPictures):
    """Every picture of a file of annotations, in its order.

    `path_setting` and `annotations_setting` are what errors tell people to set: the recipe's keys,
    or an import's own.
    """

    _config: CocoSource

    def __init__(
        self,
        config: CocoSource,
        *,
        path_setting: str = "source.path",
        annotations_setting: str = "source.annotations",
    ) -> None:
        super().__init__(config)
        self._path_setting = path_setting
        self._folder = input_path(config.path)
        if not self._folder.is_dir():
            raise UsageError(
                f"{self._folder} is not a folder",
                cure=f"{path_setting} is the folder of the pictures, {annotations_setting} the "
                "JSON file",
            )
        self._annotations_path = input_path(config.annotations)
        self._captions_path = None if config.captions is None else input_path(config.captions)

    @cached_property
    def _instances(self) -> CocoFile:
        return read_coco_file(
            self._annotations_path, key="source.annotations", wanted="category_id"
        )

    @cached_property
    def _captions(self) -> CocoFile | None:
        if self._captions_path is None:
            return None
        return read_coco_file(self._captions_path, key="source.captions", wanted="caption")

    @cached_property
    def names(self) -> Sequence[str]:
        return [image.names[0] for image in self._images]

    @property
    def _images(self) -> list[CocoImage]:
        return self._instances.images

    @property
    def has_masks(self) -> bool:
        return self._instances.masks > 0

    @property
    def writes(self) -> frozenset[Word]:
        captions: set[Word] = set() if self._captions is None else {"caption"}
        return super().writes | captions

    def count(self) -> int:
        if not self._instances.categories:
            raise SourceError(
                f"{self._annotations_path} has no categories", key="source.annotations"
            )
        if len(self._missing) == len(self._images):
            first = printable(str(self._folder / self.names[0]))
            raise DataError(
                f"none of the {len(self._images)} pictures that {self._annotations_path} names is "
                f"in {self._folder}, the first being {first}",
                cure=f"give the folder that holds them: --set {self._path_setting}=FOLDER",
            )
        return len(self._images)

    def fingerprint(self) -> str:
        captions = "" if self._captions is None else self._captions.sha256
        return hashlib.sha256(f"{self._instances.sha256} {captions}".encode()).hexdigest()

    def describe(self) -> list[str]:
        index = self._instances
        captions = 0 if self._captions is None else len(self._captions.spans)
        first = ", ".join(printable(one) for one in self.names[:_FIRST_SHOWN])
        return [
            f"{len(index.images):,} pictures, {len(index.spans):,} annotations "
            f"({index.masks:,} with a mask) of {len(index.categories):,} categories, "
            f"{captions:,} captions; first: {first}"
        ]

    def remarks(self) -> list[str]:
        remarks = []
        if self._missing:
            first = name_some([self.names[number] for number in self._missing])
            remarks.append(
                f"annotated pictures that are not there, whose scenes are quarantined: "
                f"{len(self._missing):,} of {len(self.names):,} ({first})"
            )
        times = Counter(self.names)
        doubled = [name for name, count in times.items() if count > 1]
        if doubled:
            remarks.append(
                f"{printable(self._annotations_path.name)}: pictures that have several ids, a "
                f"scene for each: {len(doubled):,} ({name_some(doubled)})"
            )
        files = [self._instances, *([] if self._captions is None else [self._captions])]
        return [*remarks, *(remark for file in files for remark in file.remarks())]

    def files(self) -> list[Path]:
        captions = [] if self._captions_path is None else [self._captions_path]
        return [self._annotations_path, *captions, self._folder]

    def record(self, number: int, *, seed: int) -> Source:
        return Source(kind="file", path=printable_path(self.names[number]))

    def candidates(self, number: int) -> Sequence[Path]:
        names = self._images[number].names
        if leads_outside(names[0]):  # and so do all others
            raise DataError(f"{printable(names[0])} leads out of the folder of the pictures")
        return [self._folder / name for name in names]

    def caption(self, number: int, sample: Sample) -> str:
        if self._captions is None:
            return ""
        texts = [one.get("caption") for one in self._captions.read(self._images[number].id)]
        captions = [one for one in texts if isinstance(one, str) and one.strip()]
        if self._config.caption == "longest":
            return max(captions, key=len, default="")
        return captions[0] if captions else ""

    def annotated(self, number: int, target: Target, sample: Sample) -> Annotated:
        image = self._images[number]
        if image.licence is not None:
            set_licence(sample, self._instances.licences.get(image.licence, ""))
        size, upright, ambiguous = self._find_orientation(image, target)
        annotations = []
        for value in self._instances.read(image.id):
            where = f"annotation {printable(str(value.get('id')))}"
            try:
                annotations.append(self._to_annotation(value, where=where, size=size))
            except DataError as error:
                sample.note_oddity(UNUSABLE, f"{where}: {error.message}")
        return Annotated(annotations, size=size, upright=upright, ambiguous=ambiguous)

    def _find_orientation(
        self, image: CocoImage, target: Target
    ) -> tuple[tuple[int, int], bool, bool]:
        """The size of the picture that coordinates are in, whether it is upright, and if a guess.

        Raises PictureError when the picture is of another size.
        """
        width, height = target.upright_size
        stored = (height, width) if target.orientation >= 5 else (width, height)
        chosen = self._config.orientation
        sizes = {"stored": stored, "upright": (width, height)}
        fitting = [one for one, size in sizes.items() if image.size in (None, size)]
        if chosen != "auto":
            fitting = [one for one in fitting if one == chosen]
        if not fitting:
            assert image.size is not None
            raise PictureError(
                "another size than its annotations",
                {
                    "width": sizes.get(chosen, stored)[0],
                    "height": sizes.get(chosen, stored)[1],
                    "annotated_width": image.size[0],
                    "annotated_height": image.size[1],
                },
            )
        return sizes[fitting[0]], fitting[0] == "upright", len(fitting) == 2

    def _to_annotation(
        self, value: dict[str, Any], *, where: str, size: tuple[int, int]
    ) -> Annotation:
        category = value["category_id"]
        if isinstance(category, bool | list | dict) or category not in self._instances.categories:
            raise DataError(f"there is no category {printable(str(category)[:40])}")
        box = value.get("bbox")
        numbers = _to_numbers(box) if box else None
        segmentation = value.get("segmentation")
        to_mask: Callable[[], Mask] | None = None
        if segmentation:
            to_mask = partial(segmentation_to_mask, segmentation, size=size)
        elif numbers is None:
            raise DataError("it has neither bbox nor segmentation")
        corners = None
        if numbers is not None:
            x, y, width, height = numbers
            corners = (x, y, x + width, y + height)
        area = value.get("area")
        if isinstance(area, bool) or not isinstance(area, int | float) or not 0 < area < math.inf:
            area = 0.0 if numbers is None else max(numbers[2], 0.0) * max(numbers[3], 0.0)
        return Annotation(
            category=self._instances.categories[category],
            where=where,
            box=corners,
            area=float(area),
            to_mask=to_mask,
            phrase=_to_text(value.get("phrase")),
            identity=_to_text(value.get("identity_id"))[:MAX_IDENTITY],
        )


def segmentation_to_mask(segmentation: Any, *, size: tuple[int, int]) -> Mask:
    """A mask of what COCO calls a segmentation: polygons, or run lengths of either kind.

    Parameters
    ----------
    size:
        (width, height) of the picture.

    Raises
    ------
    DataError
        It is none, or of a picture of another size.
    """
    if isinstance(segmentation, list):
        return polygons_to_mask(segmentation, size=size)
    if not isinstance(segmentation, dict):
        raise DataError("its segmentation is neither polygons nor run lengths")
    stated, counts = segmentation.get("size"), segmentation.get("counts")
    if stated != [size[1], size[0]]:
        raise DataError(f"its mask is of {str(stated)[:40]}, its picture of {[size[1], size[0]]}")
    if isinstance(counts, list):
        return rle_to_mask(run_lengths_to_rle(counts, size=size))
    if not isinstance(counts, str):
        raise DataError("its run lengths are neither a list nor a text")
    try:
        return rle_to_mask(MaskRLE(size=(size[1], size[0]), counts=counts))
    except (DataError, ValueError) as error:
        raise DataError("its run lengths do not describe a picture of that size") from error


def _to_text(value: Any) -> str:
    return to_stored(value) if isinstance(value, str) else ""


def _to_numbers(box: Any) -> tuple[float, float, float, float]:
    """COCO's bbox. Raises DataError for what is none."""
    if not isinstance(box, list) or len(box) != 4:
        raise DataError(f"its bbox is {str(box)[:60]}, not four numbers")
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in box):
        raise DataError(f"its bbox is {str(box)[:60]}, not four numbers")
    try:
        numbers = np.array(box, dtype=np.float64).tolist()
    except OverflowError:
        numbers = [math.inf] * 4
    if not all(map(math.isfinite, numbers)):
        raise DataError("its bbox has a number that is none, or endless")
    x, y, width, height = numbers
    return x, y, width, height

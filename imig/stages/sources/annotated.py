"""Pictures in which somebody has marked the objects: they become instances of the scene.

What a kind of source adds to this is where pictures and annotations are read from. Annotations are
in pixels of the picture as it lies in its file or as it is seen upright; here they are turned and
scaled as the picture is, masks become visible parts, and phrases are made distinct.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from imig.errors import CannotOpenError, DataError
from imig.layout.masks import Mask, mask_area, mask_to_box, mask_to_rle
from imig.pictures.orientation import turn_mask_upright
from imig.sample import Sample
from imig.schema import MAX_TEXT, Box, Instance
from imig.stages.base import Word
from imig.stages.ground import identity_id, round_outwards
from imig.stages.instances import set_instances
from imig.stages.layers import occluded_fractions, stack_masks
from imig.stages.pictures import PictureError, Target
from imig.stages.sources.base import (
    STAGE,
    SourceKind,
    fill_from_bytes,
    fill_text,
    turn_down,
)
from imig.stages.sources.config import CocoSource, YoloSource
from imig.stages.sources.distinct import distinct_phrases
from imig.stages.sources.opening import (
    can_open,
    is_there,
    max_bytes,
    read_listed_file,
    require_some,
    spread,
)
from imig.text import to_stored

UNUSABLE: Final = "annotation left out"
"""An oddity, as are the next ones."""
UNUSABLE_MASK: Final = "mask left out, the box is used"
BEYOND: Final = "annotations beyond the largest ones left out"
HIDDEN: Final = "annotation that others hide wholly left out"
TURNED: Final = "orientation that the size does not tell: taken as the file has it"

MAX_MASK_PIXELS: Final = 1 << 30
"""Of all masks of a scene together, a byte each: what is more is left out, the smallest first."""

Corners = tuple[float, float, float, float]
"""x1, y1, x2, y2."""


@dataclass(frozen=True)
class Annotation:
    """An object that somebody has marked."""

    category: str
    where: str
    """What errors call it, e.g. ``annotation 12``."""
    box: Corners | None
    """None: the box of its mask."""
    area: float
    """In pixels, for telling which ones are the largest."""
    to_mask: Callable[[], Mask] | None
    """Of the picture's size; raises DataError. None: it has a box alone."""
    phrase: str = ""
    """Where the annotation says more than its category."""
    identity: str = ""
    """Equal for those that show the same thing, across pictures too; "": nobody knows."""


@dataclass(frozen=True)
class Annotated:
    """What is known of a picture."""

    annotations: Sequence[Annotation]
    size: tuple[int, int]
    """(width, height) of the picture that the annotations are in."""
    upright: bool
    """Whether that is the picture as it is seen, and not as it lies in its file."""
    ambiguous: bool = False
    """Whether nothing has told which of the two it is."""


class AnnotatedPictures(SourceKind):
    """A numbered list of pictures and what is marked in them."""

    def __init__(self, config: CocoSource | YoloSource) -> None:
        self._config = config

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """The pictures, as they are listed."""

    @abstractmethod
    def candidates(self, number: int) -> Sequence[Path]:
        """Where picture `number` may lie, the likeliest place first.

        Raises DataError where its name leads outside.
        """

    @abstractmethod
    def caption(self, number: int, sample: Sample) -> str:
        """ "" where it has none."""

    @abstractmethod
    def annotated(self, number: int, target: Target, sample: Sample) -> Annotated:
        """What is marked in picture `number`; what is odd becomes oddities of the sample.

        Raises PictureError where picture and annotations do not belong together.
        """

    @property
    @abstractmethod
    def has_masks(self) -> bool:
        """Whether any annotation is more than a box."""

    @property
    def writes(self) -> frozenset[Word]:
        written: set[Word] = {"target", "nouns", "boxes"}
        return frozenset(written | ({"masks"} if self.has_masks and self._config.masks else set()))

    @cached_property
    def _missing(self) -> list[int]:
        return [n for n in range(len(self.names)) if not is_there(self._path(n))]

    def missing(self, stop: int) -> int:
        return sum(number < stop for number in self._missing)

    def can_open(self, number: int) -> bool:
        return can_open(self._path(number))

    def fill(self, sample: Sample, number: int) -> None:
        shown = sample.scene.source.path or ""
        limit = max_bytes(self._config.max_pixels)
        try:
            data = read_listed_file(self._checked_path(number), shown=shown, limit=limit)
            target = fill_from_bytes(sample, data, self._config)
            if target is None:
                return
            known = self.annotated(number, target, sample)
        except PictureError as error:
            turn_down(sample, error)
            return
        except CannotOpenError:
            self._require_pictures()
            raise
        caption = self.caption(number, sample)
        fill_text(sample, caption=caption, nouns=())
        instances = _Marking(sample, target, known, masks=self._config.masks).instances(
            most=self._config.max_instances
        )
        fill_text(sample, caption=caption, nouns=[one.phrase for one in instances])
        if len(instances) < self._config.min_instances:
            figures: dict[str, float | int | str] = {
                "annotations": len(known.annotations),
                "usable": len(instances),
                "min_instances": self._config.min_instances,
            }
            sample.turn_down(stage=STAGE, reason="too few annotations", figures=figures)

    def _checked_path(self, number: int) -> Path:
        try:
            self.candidates(number)
        except DataError as error:
            raise PictureError("name that leads outside", {"error": error.message}) from error
        return self._path(number)

    def _path(self, number: int) -> Path:
        """The first candidate that is there, else the first; nowhere for a name that is refused."""
        try:
            candidates = self.candidates(number)
        except DataError:
            return Path("/nonexistent")
        return next((one for one in candidates if is_there(one)), candidates[0])

    def _require_pictures(self) -> None:
        """Raise SourceLostError when nothing of what was there is there any more."""
        missing = set(self._missing)
        there = [number for number in range(len(self.names)) if number not in missing]
        paths = [self._path(number) for number in spread(there)]
        require_some(paths, what=f"picture that {self._config.path} names")


@dataclass
class _Piece:
    """An instance to be."""

    instance: Instance
    mask: Mask | None


@dataclass(frozen=True)
class _Marking:
    """Makes instances of a picture's annotations."""

    sample: Sample
    target: Target
    known: Annotated
    masks: bool

    def instances(self, *, most: int) -> list[Instance]:
        """Set the scene's instances, from left to right; at most `most`, the largest."""
        known = self.known
        if known.ambiguous and self.target.orientation != 1:
            self.sample.note_oddity(TURNED, f"EXIF orientation {self.target.orientation}")
        ranked = sorted(known.annotations, key=lambda one: -one.area)
        pieces: list[_Piece] = []
        left_out = 0
        size = self.sample.scene.width * self.sample.scene.height
        for one in ranked:
            if len(pieces) >= min(most, MAX_MASK_PIXELS // size):
                left_out += 1
                continue
            try:
                pieces.append(self._to_piece(one))
            except DataError as error:
                self.sample.note_oddity(UNUSABLE, f"{one.where}: {error.message}")
        if left_out:
            self.sample.note_oddity(BEYOND, f"{left_out} of {len(ranked)}")
        return self._store(pieces)

    def _store(self, pieces: list[_Piece]) -> list[Instance]:
        pieces.sort(key=lambda one: (one.instance.box[0] + one.instance.box[2], one.instance.box))
        pieces, order = self._make_visible(pieces)
        phrases = distinct_phrases(
            [one.instance.phrase for one in pieces], [one.instance.box for one in pieces]
        )
        instances = [one.instance for one in pieces]
        for index, (instance, phrase) in enumerate(zip(instances, phrases, strict=True)):
            instance.phrase = phrase
            instance.identity_id = instance.identity_id or identity_id(self.sample.scene, index)
        set_instances(self.sample, instances, layer_order=order)
        return self.sample.scene.instances

    def _make_visible(self, pieces: list[_Piece]) -> tuple[list[_Piece], list[int]]:
        """Masks made disjoint and stored; what others hide is left out. Also the layer order."""
        numbers = [number for number, one in enumerate(pieces) if one.mask is not None]
        masks = [mask for one in pieces if (mask := one.mask) is not None]
        boxes = [pieces[number].instance.box for number in numbers]
        kept, visible, order = stack_masks(boxes, masks)
        hidden = {numbers[one] for one in set(range(len(numbers))) - set(kept)}
        boxes = [boxes[one] for one in kept]
        fractions = occluded_fractions(boxes, visible, order)
        for one, mask, fraction in zip(kept, visible, fractions, strict=True):
            instance = pieces[numbers[one]].instance
            instance.mask, instance.area = mask_to_rle(mask), mask_area(mask)
            instance.occluded_fraction = fraction
        for number in sorted(hidden):
            self.sample.note_oddity(HIDDEN, pieces[number].instance.phrase)
        stay = [one for number, one in enumerate(pieces) if number not in hidden]
        # An order names all instances; of those without a mask nothing is known.
        return stay, order if len(visible) == len(stay) else []

    def _to_piece(self, one: Annotation) -> _Piece:
        scene = self.sample.scene
        corners = None if one.box is None else self._to_corners(one.box)
        mask = self._read_mask(one, has_box=corners is not None)
        boxes: list[Box] = []
        if corners is not None:
            boxes.append(round_outwards(corners, width=scene.width, height=scene.height))
        around = None if mask is None else mask_to_box(mask)
        if around is not None:
            boxes.append(around)
        if not boxes:
            raise DataError("it has no area in the picture")
        box = (
            min(box[0] for box in boxes),
            min(box[1] for box in boxes),
            max(box[2] for box in boxes),
            max(box[3] for box in boxes),
        )
        noun = category_to_phrase(one.category)
        phrase = to_stored(one.phrase) or noun
        if not noun or len(phrase) > MAX_TEXT:
            raise DataError("its category has no name that can be a phrase")
        instance = Instance(
            index=0, identity_id=one.identity, phrase=phrase, noun=noun[:MAX_TEXT], box=box
        )
        return _Piece(instance, mask if around is not None and self.masks else None)

    def _read_mask(self, one: Annotation, *, has_box: bool) -> Mask | None:
        """None where it has none, or a bad one beside a box that can be used."""
        if one.to_mask is None or not (self.masks or one.box is None):
            return None
        try:
            return self._to_mask(one.to_mask())
        except DataError as error:
            if not has_box:
                raise
            self.sample.note_oddity(UNUSABLE_MASK, f"{one.where}: {error.message}")
            return None

    def _to_mask(self, mask: Mask) -> Mask:
        """Turned and scaled as the target is."""
        if not self.known.upright:
            mask = turn_mask_upright(mask, self.target.orientation)
        size = (self.sample.scene.width, self.sample.scene.height)
        if mask.shape == (size[1], size[0]):
            return mask
        # What covers half of a pixel, at least, has it.
        image = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
        scaled: Mask = np.asarray(image) > 127
        return scaled

    def _to_corners(self, box: Corners) -> np.ndarray | None:
        """In pixels of the target; None where nothing of it is inside."""
        if not all(map(math.isfinite, box)):
            raise DataError("its box has a number that is none")
        width, height = self.known.size
        x1, y1, x2, y2 = box
        x1, x2 = (min(max(x, 0.0), width) for x in (x1, x2))
        y1, y2 = (min(max(y, 0.0), height) for y in (y1, y2))
        if x1 >= x2 or y1 >= y2:
            return None
        turn = 1 if self.known.upright else self.target.orientation
        if turn >= 5:
            x1, y1, x2, y2 = y1, x1, y2, x2
            width, height = height, width
        if turn in (2, 3, 6, 7):
            x1, x2 = width - x2, width - x1
        if turn in (3, 4, 7, 8):
            y1, y2 = height - y2, height - y1
        across, down = self.sample.scene.width / width, self.sample.scene.height / height
        corners = np.array([x1 * across, y1 * down, x2 * across, y2 * down])
        # A box of whole pixels that is neither scaled nor turned keeps them, whatever was lost in
        # a division and a multiplication.
        nearest = np.round(corners)
        return np.where(np.abs(corners - nearest) < 1e-3, nearest, corners)


def category_to_phrase(name: str) -> str:
    """A category's name as a phrase: LVIS's ``bow_(decorative_ribbons)`` is a bow."""
    plain = to_stored(name.replace("_", " "))
    return to_stored(re.sub(r"\s*\([^()]*\)\s*$", "", plain)) or plain

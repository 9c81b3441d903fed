"""Was a case seen in training? Near copies of its pictures among those of training datasets.

A benchmark measures what a model can do with subjects that it has not seen. Compared are the
references and the true picture of every case with all references and targets of the datasets, by
perceptual hash, which does not see colour, and by a thumbnail, which does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as images
from PIL.Image import Image
from pydantic import Field
from rich.console import Console

from imig.console.bar import Bar
from imig.duplicates.perceptual_hash import perceptual_hash
from imig.evaluation.case import Case, Mask
from imig.layout.masks import mask_to_box
from imig.recipe.parts import RecipePart
from imig.shards.dataset import Dataset
from imig.shards.views import SceneView
from imig.stages.pixels import grey_out

THUMBNAIL: Final = 8
"""Pixels a side."""


class LeakageConfig(RecipePart):
    """When two pictures are near copies."""

    hash_distance: int = Field(
        default=4, ge=0, le=32, description="Differing bits of the perceptual hash's 64, at most."
    )
    colour_distance: float = Field(
        default=12.0,
        ge=0,
        description="Root mean square difference of thumbnails, in levels of 255, at most.",
    )


@dataclass(frozen=True)
class Seen:
    """A picture of a case that is a near copy of one in training."""

    case: str
    picture: str
    """Which of the case's: a reference's name, or "target"."""
    of: str
    """The scene in training."""


@dataclass
class Pictures:
    """Many pictures, as they are compared: a few hundred bytes each."""

    names: list[str] = field(default_factory=list)
    """Of the case or the scene."""
    parts: list[str] = field(default_factory=list)
    """Which picture of it."""
    _hashes: list[int] = field(default_factory=list)
    _thumbnails: list[NDArray[np.uint8]] = field(default_factory=list)

    def add(self, name: str, part: str, image: Image, mask: Mask | None = None) -> None:
        """Take note of a picture; with a mask, of the subject alone."""
        shown = image if mask is None else subject_alone(image, mask)
        small = shown.convert("RGB").resize((THUMBNAIL, THUMBNAIL), images.Resampling.BOX)
        self.names.append(name)
        self.parts.append(part)
        self._hashes.append(int(perceptual_hash(shown), 16))
        self._thumbnails.append(np.asarray(small).reshape(-1))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """(n,)"""
        return np.array(self._hashes, dtype=np.uint64)

    @property
    def thumbnails(self) -> NDArray[np.uint8]:
        """(n, values)"""
        return np.array(self._thumbnails, dtype=np.uint8).reshape(len(self), THUMBNAIL**2 * 3)


def find_seen(
    cases: Sequence[Case],
    training: Sequence[str | Path],
    *,
    config: LeakageConfig,
    console: Console,
) -> list[Seen]:
    """Pictures of cases that training datasets have near copies of; each with the nearest one.

    Raises
    ------
    UsageError, DataError
        A dataset cannot be opened; a picture is damaged.
    """
    asked = Pictures()
    for case in cases:
        _add_case(asked, case)
    known = Pictures()
    for folder in training:
        dataset = Dataset(folder)
        with Bar(f"reading {folder}", total=len(dataset), done=0, console=console) as bar:
            for done, scene in enumerate(dataset, start=1):
                _add_scene(known, scene)
                bar.advance(done)
    return list(near_copies(asked, known, config=config))


def near_copies(asked: Pictures, known: Pictures, *, config: LeakageConfig) -> Iterator[Seen]:
    """Of each picture in `asked` the nearest in `known`, where that is a near copy."""
    hashes, thumbnails = known.hashes, known.thumbnails
    for row, (hash_, thumbnail) in enumerate(zip(asked.hashes, asked.thumbnails, strict=True)):
        near = np.flatnonzero(np.bitwise_count(hashes ^ hash_) <= config.hash_distance)
        if not len(near):
            continue
        difference = thumbnails[near].astype(np.float64) - thumbnail
        apart = np.sqrt((difference**2).mean(axis=1))
        best = int(apart.argmin())
        if apart[best] <= config.colour_distance:
            yield Seen(asked.names[row], asked.parts[row], known.names[near[best]])


def subject_alone(image: Image, mask: Mask) -> Image:
    """The mask's bounding box, grey around the subject; the whole picture where that is empty."""
    box = mask_to_box(mask)
    if box is None:
        return image
    return grey_out(image, mask).crop(box)


def _add_case(pictures: Pictures, case: Case) -> None:
    for instance in case.instances:
        for reference in instance.references:
            pictures.add(case.id, reference.name, *reference.read())
    if case.read_target is not None:
        pictures.add(case.id, "target", case.read_target())


def _add_scene(pictures: Pictures, scene: SceneView) -> None:
    pictures.add(scene.id, "target", scene.target)
    for instance in scene.instances:
        for reference in instance.references:
            image, mask = reference.image.convert("RGB"), reference.mask
            pictures.add(scene.id, reference.record.name, image, mask)

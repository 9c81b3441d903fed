"""What a stage can have made of a scene that cannot be: NaN, a cosine of 3, a box in the void.

The schema refuses most of it where it is written; lists and tables are changed in place, and what
was right by itself may not fit the picture. Found behind the stage that has done it, it is that
stage's failure; found when the scene is written, it would be nobody's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pydantic import BaseModel

from imig.schema import INSTANCE_FIGURES, SCENE_FIGURES, Box, Scene

ROUNDING: Final = 1e-3
"""By which a cosine of float16 features may exceed 1."""
_HARMLESS: Final = frozenset({str, int, bool, type(None)})
"""Types of most values."""


def first_absurdity(scene: Scene) -> str | None:
    """What cannot be, and where; None: nothing is wrong with it."""
    return next(_absurdities(scene), None)


def _absurdities(scene: Scene) -> Iterator[str]:
    if not _all_finite(scene.__dict__.values()):
        yield from _not_finite(scene, "")
    for figure in SCENE_FIGURES:
        yield from _too_large(figure.name, figure.of(scene.scores), figure.magnitude)
    for one in scene.instances:
        place = f"instances.{one.index}"
        for figure in INSTANCE_FIGURES:
            value = figure.of(one.scores)
            yield from _too_large(f"{place}.scores.{figure.name}", value, figure.magnitude)
        for cosine in one.scores.identity_similarity or ():
            yield from _too_large(f"{place}.scores.identity_similarity", cosine, 1)
        size = scene.width, scene.height
        yield from _outside(f"{place}.box", one.box, size)
        yield from _outside(f"{place}.face_box", one.face_box, size)
        if one.mask is not None and one.mask.size != size[::-1]:
            yield (
                f"{place}.mask has {one.mask.size[1]}x{one.mask.size[0]} pixels, the target "
                f"{size[0]}x{size[1]}"
            )
        for view in one.references:
            place_of_view = f"{place}.references.{view.name}"
            yield from _outside(
                f"{place_of_view}.subject_box", view.subject_box, (view.width, view.height)
            )
            for name, cosine in view.similarity:
                yield from _too_large(f"{place_of_view}.similarity.{name}", cosine, 1)


def _all_finite(values: Iterable[Any]) -> bool:
    """Whether nothing within is NaN or infinite. Behind every stage, for every scene: fast."""
    for value in values:
        if type(value) in _HARMLESS:
            continue
        if isinstance(value, float):
            if not math.isfinite(value):
                return False
        elif isinstance(value, BaseModel):
            if not _all_finite(value.__dict__.values()):
                return False
        elif isinstance(value, (list, tuple)):
            if not _all_finite(value):
                return False
        elif isinstance(value, dict) and not _all_finite(value.values()):
            return False
    return True


def _not_finite(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, float):
        if not math.isfinite(value):
            yield f"{place} is {value}"
    elif isinstance(value, BaseModel):
        for name, inner in value.__dict__.items():
            if not isinstance(inner, (str, int)):
                yield from _not_finite(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            if not isinstance(inner, (str, int)):
                yield from _not_finite(inner, f"{place}.{i}")
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _not_finite(inner, f"{place}.{name}")


def _too_large(place: str, value: float | None, magnitude: float | None) -> Iterator[str]:
    if value is not None and magnitude is not None and abs(value) > magnitude + ROUNDING:
        yield f"{place} is {value:g}, and cannot exceed {magnitude:g}"


def _outside(place: str, box: Box | None, size: tuple[int, int]) -> Iterator[str]:
    if box is not None and not (
        0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1]
    ):
        yield f"{place} {list(box)} lies outside of {size[0]}x{size[1]} pixels"

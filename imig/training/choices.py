"""What a sample shows of a scene: which view of each identity, and whether it has its caption.

The choice is made for the whole sample, not for each instance, so that there are at most three
layouts of a scene and encoded shards can hold one for each.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np

from imig.schema import Instance, Reference, ReferenceKind, Scene
from imig.training.recipe import DataConfig

Variant = Literal["crop", "edit", "face"]

PREFERRED: Final[dict[Variant, tuple[ReferenceKind, ...]]] = {
    "crop": ("source", "crop", "edit", "face"),
    "edit": ("edit", "source", "crop", "face"),
    "face": ("face", "source", "crop", "edit"),
}
"""An instance that lacks the view that the variant is named after shows the next one in the row."""


@dataclass(frozen=True)
class Choice:
    """All that is random about how a scene becomes a sample."""

    variant: Variant
    drop_caption: bool = False


class Pick(NamedTuple):
    """One reference of a sample, as positions in `Scene.instances` and `Instance.references`."""

    instance: int
    reference: int


def available_variants(scene: Scene, *, config: DataConfig) -> tuple[Variant, ...]:
    """The variants that a sample of this scene can have under these probabilities.

    Empty where no instance has a usable reference: no sample can be made of the scene. A variant
    whose probability is 0, or which a probability of 1 leaves no room, is not among them.
    """
    shown = _shown_instances(scene, config=config)
    kinds = {one.kind for instance in shown for one in _usable(instance)}
    return variants_of_kinds(kinds, config=config)


def variants_of_kinds(
    kinds: Collection[ReferenceKind], *, config: DataConfig
) -> tuple[Variant, ...]:
    """`available_variants` of a scene that has usable references of these kinds to show."""
    if not kinds:
        return ()
    left = 1.0
    variants: list[Variant] = []
    probabilities: tuple[tuple[Variant, float], ...] = (
        ("face", config.face_probability),
        ("edit", config.edit_probability),
    )
    for variant, probability in probabilities:
        if variant in kinds:
            if left * probability > 0:
                variants.append(variant)
            left *= 1 - probability
    if left > 0:
        variants.append("crop")
    return tuple(variants)


def draw_choice(
    available: Collection[Variant], *, config: DataConfig, generator: np.random.Generator
) -> Choice:
    """Draw variant and caption dropout (REFERENCE 3.5).

    Where the scene has an aligned face: `face` with `face_probability`; else, where it has an edit:
    `edit` with `edit_probability`; else `crop`. Three numbers are drawn whatever is available.

    Parameters
    ----------
    available:
        See `available_variants`; not empty.
    """
    face, edit, caption = generator.random(3)
    drop_caption = bool(caption < config.caption_dropout)
    if "face" in available and face < config.face_probability:
        return Choice("face", drop_caption)
    if "edit" in available and edit < config.edit_probability:
        return Choice("edit", drop_caption)
    return Choice("crop", drop_caption)


def pick_references(scene: Scene, *, variant: Variant, config: DataConfig) -> list[Pick]:
    """One reference for each instance that has a usable one, in the order of the instances.

    Of more than `max_references` instances those with the largest boxes stay. `face` shows aligned
    faces, `edit` edits, `crop` neither, as far as an instance has another view: its source view
    first (it is not cut from the target), then its crop.
    """
    return [
        Pick(instance.index, _preferred(instance, PREFERRED[variant]))
        for instance in _shown_instances(scene, config=config)
    ]


def caption_text(caption: str, *, drop: bool, instruction: str) -> str:
    """What the text encoders get: the caption inside the instruction, or "" without a caption.

    The released trainer wraps the empty caption too, which leaves an instruction about nothing
    (REFERENCE 3.6).
    """
    if drop or not caption.strip():
        return ""
    return instruction.replace("{caption}", caption)  # not format(): both may have other braces


def _shown_instances(scene: Scene, *, config: DataConfig) -> list[Instance]:
    usable = [instance for instance in scene.instances if _usable(instance)]
    largest = sorted(usable, key=lambda one: (-_area(one), one.index))[: config.max_references]
    return sorted(largest, key=lambda one: one.index)


def _usable(instance: Instance) -> list[Reference]:
    """A face needs its own place in the aligned picture, and the target's face to go to."""
    return [
        one
        for one in instance.references
        if one.kind != "face"
        or (instance.face_box is not None and one.face is not None and one.face.aligned_box)
    ]


def _preferred(instance: Instance, kinds: tuple[ReferenceKind, ...]) -> int:
    best = min(_usable(instance), key=lambda one: kinds.index(one.kind))
    return next(i for i, one in enumerate(instance.references) if one is best)


def _area(instance: Instance) -> int:
    x1, y1, x2, y2 = instance.box
    return (x2 - x1) * (y2 - y1)

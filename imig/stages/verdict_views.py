"""What the thresholds of a filter say of an instance's views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imig.schema import Instance, Reference, Subset

if TYPE_CHECKING:
    from imig.stages.filter import FilterConfig

_PROMISED = {"complex": "edit", "flexible": "source"}
"""Subset -> the kind of view that every instance of it has."""
_DRAWN = ("edit", "source")


def view_fault(instance: Instance, config: FilterConfig, *, subset: Subset) -> str:
    """Which threshold the instance's references fail, "" when none."""
    references = instance.references
    promised = _PROMISED.get(subset)
    if promised is not None and all(one.kind != promised for one in references):
        return f"no_{promised}"
    shares = [one.coverage for one in references if one.kind in _DRAWN]
    if any(one is not None and one < config.min_mask_coverage for one in shares):
        return "view_coverage"
    if config.dino is not None and not _has_its_face(instance, config.face):
        lowest = lowest_dino(instance)
        if lowest is not None and lowest < config.dino:
            return "dino"
    if config.agreement and any(
        one.agreement is not None and not one.agreement.agrees for one in references
    ):
        return "disagreement"
    return ""


def lowest_dino(instance: Instance) -> float | None:
    """Of the views that were drawn for themselves, else of the crops; None: none was compared.

    A crop is a part of the target: beside a drawn view it says nothing of the identity.
    """
    for kinds in (_DRAWN, ("crop",)):
        known = [
            one.similarity.dino
            for one in instance.references
            if one.kind in kinds and one.similarity.dino is not None
        ]
        if known:
            return min(known)
    return None


def best_face(instance: Instance) -> float | None:
    """Recognition cosine of the aligned face that is most like the one in the target."""
    known = [
        value
        for one in instance.references
        if one.kind == "face" and (value := _face_cosine(one)) is not None
    ]
    return max(known, default=None)


def _face_cosine(reference: Reference) -> float | None:
    if reference.similarity.face is not None or reference.face is None:
        return reference.similarity.face
    return reference.face.score


def _has_its_face(instance: Instance, threshold: float | None) -> bool:
    """A face that is recognised stands in for features of the whole (released filter)."""
    best = best_face(instance)
    return threshold is not None and best is not None and best >= threshold

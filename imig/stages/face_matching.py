"""Whose face is it: faces to instances, faces to subjects, faces in a target to references."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imig.layout.masks import Mask
from imig.models.protocols import DetectedFace
from imig.schema import Box

OWNED_SHARE = 0.5
"""Share of a face's box that a mask must cover for the face to be its own (our choice). Masks of a
target are disjoint, so a face has one owner at most."""

DECIMALS = 4
"""Of stored cosines: finer digits differ between processors."""


def faces_of_instances(
    faces: Sequence[DetectedFace], masks: Sequence[Mask]
) -> list[DetectedFace | None]:
    """For each instance's mask the face that it owns: of several the largest, None without one.

    `faces` are largest first, as a `FaceAnalyser` answers.
    """
    owned: list[DetectedFace | None] = [None] * len(masks)
    for face in faces:
        shares = [share_under(mask, face.box) for mask in masks]
        owner = int(np.argmax(shares)) if shares else -1
        if owner >= 0 and shares[owner] >= OWNED_SHARE and owned[owner] is None:
            owned[owner] = face
    return owned


def face_of_subject(faces: Sequence[DetectedFace], mask: Mask | None) -> DetectedFace | None:
    """The largest face of a view that is its subject's; without a mask the largest."""
    own = (one for one in faces if mask is None or share_under(mask, one.box) >= OWNED_SHARE)
    return next(own, None)


def share_under(mask: Mask, box: Box) -> float:
    """Share of a box's pixels that a mask covers."""
    x1, y1, x2, y2 = box
    return float(mask[y1:y2, x1:x2].mean())


def recognise(
    references: Sequence[DetectedFace | None], target: Sequence[DetectedFace], *, min_cosine: float
) -> list[DetectedFace | None]:
    """For each reference's face the one in the target that is the same person's, or None.

    No face is given away twice; of all ways to do so, that with the largest sum of the cosines
    above `min_cosine`.
    """
    from scipy.optimize import linear_sum_assignment

    found: list[DetectedFace | None] = [None] * len(references)
    known = [i for i, face in enumerate(references) if face is not None]
    if not known or not target:
        return found
    rows = np.array([face.embedding for face in references if face is not None])
    cosines = rows @ np.array([face.embedding for face in target]).T
    gains = np.where(cosines > min_cosine, cosines, 0.0)
    for row, column in zip(*linear_sum_assignment(gains, maximize=True), strict=True):
        if cosines[row, column] > min_cosine:
            found[known[row]] = target[column]
    return found


def face_cosine(a: DetectedFace, b: DetectedFace) -> float:
    """Cosine of two recognition features, rounded for storage."""
    return round(float(a.embedding @ b.embedding), DECIMALS)

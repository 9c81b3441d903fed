"""A stand-in for a `FaceAnalyser`, and faces to give it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL.Image import Image

from imig.layout.aligned_face import TEMPLATE
from imig.models.protocols import DetectedFace
from imig.schema import Box


def face(box: Box, person: int, *, likeness: float = 1.0, score: float = 0.9) -> DetectedFace:
    """A face of a person: features of two persons are orthogonal.

    `likeness` is the cosine with the same person's other faces. Landmarks are where an upright face
    that fills the box has them.
    """
    embedding = np.zeros(16, np.float32)
    embedding[person] = likeness
    embedding[8 + person] = np.sqrt(1 - likeness**2)
    x1, y1, x2, y2 = box
    # In the template a face is about 240 wide and high, from 130 and 190 on.
    landmarks = (TEMPLATE - (136, 190)) / 240 * (x2 - x1, y2 - y1) + (x1, y1)
    return DetectedFace(
        box=box, score=score, embedding=embedding, landmarks=landmarks.astype(np.float32)
    )


class FacesBySize:
    """Answers the faces that were given for pictures of that (width, height)."""

    name = "double:faces"

    def __init__(self, faces: Mapping[tuple[int, int], Sequence[DetectedFace]]) -> None:
        self.faces = faces
        self.shown: list[tuple[int, int]] = []

    def find_faces(self, images: Sequence[Image]) -> list[list[DetectedFace]]:
        self.shown += [image.size for image in images]
        return [list(self.faces.get(image.size, [])) for image in images]

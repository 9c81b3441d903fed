"""Family `dlib`: faces by dlib, with weights that are free and that a Python package ships.

The detector is dlib's own (histograms of gradients, in the library). Landmarks and recognition
come from the package `face_recognition_models` (CC0). Its 68-point landmarks, whose training set
excludes commercial use, are not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from imig.errors import UsageError
from imig.models.batched import ResolvedWeights, Runtime
from imig.models.family import Checkpoint, Family
from imig.models.images import as_rgb
from imig.models.protocols import DetectedFace
from imig.schema import Box

LANDMARKS_FILE: Final = "shape_predictor_5_face_landmarks.dat"
RECOGNITION_FILE: Final = "dlib_face_recognition_resnet_model_v1.dat"

UPSAMPLED: Final = 1
"""How often a picture is doubled before faces are looked for: the detector's own limit of 80 pixels
becomes 40."""

SAME_FACE_DISTANCE: Final = 0.6
"""Euclidean distance of two descriptors below which they are one person's (dlib's author: 99.38 %
right on Labeled Faces in the Wild)."""
SAME_FACE_COSINE: Final = 0.4
"""What that distance becomes: the released pipeline's threshold (REFERENCE 2.1)."""

FREQUENCIES: Final = 4096
"""Of the random features; the error of a cosine is about 1 / sqrt(2 * this) = 0.011."""

# dlib's mean face in the frame of its own face chips (dlib/image_transforms/interpolation.h,
# Boost licence): what its 5 landmarks are, and 3 of its 68. The corners of the viewer's right eye
# (outer, inner), of the left one (outer, inner), the base of the nose.
_MEAN_FOUND: Final = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
# The tip of the nose, the corners of the mouth.
_MEAN_WANTED: Final = np.array([[0.490127, 0.515625], [0.254149, 0.780233], [0.726104, 0.780233]])


class DlibFaces:
    """A `FaceAnalyser` on the CPU, for faces that look into the camera, of 40 pixels and more.

    dlib compares descriptors by Euclidean distance, on which its cosines say little (those of
    different people are about 0.85). The features are therefore such that their cosine is a
    function of that distance, 1 at 0 and 0.4 at 0.6 (see `distance_features`).
    """

    family: ClassVar[Family] = Family(
        name="dlib",
        tasks=("find faces",),
        library="dlib",
        layout="folder",
        weight_files=(
            "shape_predictor_5_face_landmarks.dat",
            "dlib_face_recognition_resnet_model_v1.dat",
        ),
        packages=("dlib", "face_recognition_models"),
        extra="faces",
        ships_in="face_recognition_models/models",
        get="pip install 'imig[faces]'",
        checkpoints=(Checkpoint("face_recognition_models", 100, "CC0-1.0"),),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        # dlib's own CUDA code, where compiled in, takes no torch device, and knows one number
        # format: `runtime` says nothing to it.
        import dlib

        self.name = weights.name
        self._detector = dlib.get_frontal_face_detector()
        try:
            self._landmarks = dlib.shape_predictor(str(weights.path / LANDMARKS_FILE))
            self._recognition = dlib.face_recognition_model_v1(str(weights.path / RECOGNITION_FILE))
        except RuntimeError as error:
            raise UsageError(
                f"dlib: {weights.path} does not load: {error}",
                cure="pip install --force-reinstall face_recognition_models",
            ) from error
        self._frequencies = _frequencies()

    def find_faces(self, images: Sequence[Image]) -> list[list[DetectedFace]]:
        """The faces of each image, largest first; landmarks of the mouth are estimates."""
        return [self._find(np.ascontiguousarray(image)) for image in as_rgb(images)]

    def _find(self, pixels: NDArray[np.uint8]) -> list[DetectedFace]:
        if min(pixels.shape[:2]) < _SMALLEST_PICTURE:
            return []
        rectangles, margins, _ = self._detector.run(pixels, UPSAMPLED, 0.0)
        faces = []
        for rectangle, margin in zip(rectangles, margins, strict=True):
            box = _clipped(rectangle, width=pixels.shape[1], height=pixels.shape[0])
            if box is None:
                continue
            shape = self._landmarks(pixels, rectangle)
            descriptor = self._recognition.compute_face_descriptor(pixels, shape)
            faces.append(
                DetectedFace(
                    box=box,
                    # The margin of a linear classifier is at least 0 and has no upper end.
                    score=round(1.0 - float(np.exp(-margin)), 4),
                    embedding=distance_features(np.array(descriptor), self._frequencies),
                    landmarks=five_landmarks(np.array([(p.x, p.y) for p in shape.parts()])),
                )
            )
        return sorted(faces, key=lambda face: (-_area(face.box), face.box))


_SMALLEST_PICTURE: Final = 24
"""Pixels; smaller ones cannot hold a face of 40, and the detector's pyramid wants some room."""


def five_landmarks(points: NDArray[Any]) -> NDArray[np.float32]:
    """dlib's 5 points (4 corners of eyes, base of the nose) -> the landmarks of a `DetectedFace`.

    Eyes are the middles of their corners. The tip of the nose and the mouth are those of dlib's
    mean face, moved by the affine map that brings its 5 points nearest to the found ones.

    Parameters
    ----------
    points:
        (5, 2) x, y in dlib's order.
    """
    found = np.asarray(points, np.float64)
    known = np.column_stack([_MEAN_FOUND, np.ones(5)])
    affine = np.linalg.lstsq(known, found, rcond=None)[0]
    nose, *mouth = np.column_stack([_MEAN_WANTED, np.ones(3)]) @ affine
    left, right = found[2:4].mean(axis=0), found[0:2].mean(axis=0)
    return np.array([left, right, nose, *mouth], np.float32)


def distance_features(
    descriptor: NDArray[np.float64], frequencies: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(2 * frequencies,), of length 1: their cosine is exp(-distance^2 / (2 s^2)), nearly.

    Random Fourier features (Rahimi and Recht 2007) of the Gaussian kernel whose width s makes
    `SAME_FACE_DISTANCE` the cosine `SAME_FACE_COSINE`; drawn once, with a fixed seed.
    """
    phases = frequencies @ descriptor
    features = np.concatenate([np.cos(phases), np.sin(phases)]) / np.sqrt(len(frequencies))
    return np.asarray(features, np.float32)


def _frequencies() -> NDArray[np.float64]:
    """(FREQUENCIES, 128): the kernel's spectrum is Gaussian with standard deviation 1 / s."""
    width = SAME_FACE_DISTANCE / np.sqrt(-2 * np.log(SAME_FACE_COSINE))
    return np.asarray(np.random.default_rng(0).standard_normal((FREQUENCIES, 128)) / width)


def _clipped(rectangle: Any, *, width: int, height: int) -> Box | None:
    """dlib's rectangle (last pixels included) as a box inside the image; None where outside."""
    x1, y1 = max(rectangle.left(), 0), max(rectangle.top(), 0)
    x2, y2 = min(rectangle.right() + 1, width), min(rectangle.bottom() + 1, height)
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])

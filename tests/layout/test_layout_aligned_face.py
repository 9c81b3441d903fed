import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imig.layout.aligned_face import MID_GREY, TEMPLATE, align_face, similarity
from imig.layout.masks import mask_to_box
from imig.layout.placement import aligned_face_box

CENTRE = np.array([256.0, 300.0])


def turned(
    points: NDArray[Any], *, degrees: float, scale: float, shift: tuple[float, float]
) -> NDArray[np.float32]:
    """Points turned about `CENTRE`, scaled and shifted."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray((points - CENTRE) @ turn.T * scale + CENTRE + shift, np.float32)


def dotted(landmarks: NDArray[np.float32], *, size: tuple[int, int], half: int) -> Image.Image:
    """White, with a block of its own colour at each landmark."""
    pixels = np.full((size[1], size[0], 3), 255, np.uint8)
    for number, (x, y) in enumerate(landmarks):
        pixels[int(y) - half : int(y) + half + 1, int(x) - half : int(x) + half + 1] = COLOURS[
            number
        ]
    return Image.fromarray(pixels)


COLOURS = ((200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200))


@pytest.mark.parametrize(("degrees", "scale"), [(0.0, 1.0), (35.0, 0.7), (-80.0, 1.3), (10.0, 2.6)])
@pytest.mark.parametrize("side", [512, 256])
def test_landmarks_come_to_their_places(degrees: float, scale: float, side: int) -> None:
    landmarks = turned(TEMPLATE, degrees=degrees, scale=scale, shift=(300, 260))
    image = dotted(landmarks, size=(1100, 1100), half=round(8 * max(scale, 1)))
    box = (456, 430, 656, 640)
    aligned = align_face(image, None, landmarks=landmarks, box=box, side=side)
    assert aligned is not None
    assert aligned.image.size == (side, side)
    pixels = np.asarray(aligned.image)
    for number, (x, y) in enumerate(TEMPLATE * side / 512):
        near = pixels[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2, :3]
        np.testing.assert_allclose(near.reshape(-1, 3).mean(axis=0), COLOURS[number], atol=40)
    # the face's box keeps its shape: its area is the box's, scaled
    x1, y1, x2, y2 = aligned.face_box
    assert x2 - x1 == pytest.approx(200 / scale * side / 512, abs=1.5)
    assert y2 - y1 == pytest.approx(210 / scale * side / 512, abs=1.5)


def test_transparent_outside_head_mask_and_picture() -> None:
    image = Image.new("RGB", (400, 500), (250, 10, 10))
    mask = np.zeros((500, 400), bool)
    mask[:, :256] = True
    landmarks = TEMPLATE.astype(np.float32)
    aligned = align_face(image, mask, landmarks=landmarks, box=(150, 180, 350, 400), side=512)
    assert aligned is not None
    pixels = np.asarray(aligned.image)
    alpha = pixels[..., 3]
    assert set(np.unique(alpha)) == {0, 255}
    assert aligned.subject_box == mask_to_box(alpha > 127)
    assert alpha[256, 200] == 255
    assert alpha[256, 300] == 0, "not the subject"
    assert alpha[5, 5] == 0, "beside the head"
    assert aligned.subject_box[2] == 256
    assert (pixels[alpha == 0][:, :3] == MID_GREY).all()
    assert (pixels[alpha == 255][:, 0] > 240).all()

    again = align_face(image, mask, landmarks=landmarks, box=(150, 180, 350, 400), side=512)
    assert again is not None
    assert aligned.png() == again.png()
    assert Image.open(io.BytesIO(aligned.png())).mode == "RGBA"


def test_a_mask_that_leaves_nothing() -> None:
    image = Image.new("RGB", (512, 512))
    empty = np.zeros((512, 512), bool)
    landmarks = TEMPLATE.astype(np.float32)
    assert align_face(image, empty, landmarks=landmarks, box=(150, 180, 350, 400), side=512) is None


def test_aligned_box_puts_the_face_back_at_its_size() -> None:
    landmarks = turned(TEMPLATE, degrees=20, scale=0.5, shift=(100, 50))
    face = (300, 280, 420, 400)
    aligned = align_face(
        Image.new("RGB", (800, 800)), None, landmarks=landmarks, box=face, side=512
    )
    assert aligned is not None
    # Put where the target's face is, the aligned picture shows a face as large as the target's.
    place = aligned_face_box(face, aligned_size=(512, 512), aligned_face=aligned.face_box)
    scale = (place[2] - place[0]) / 512
    x1, _, x2, _ = aligned.face_box
    assert (x2 - x1) * scale == pytest.approx(120, rel=0.02)


def test_similarity_recovers_turn_scale_and_shift() -> None:
    points = np.array([[0.0, 0.0], [10.0, 0.0], [3.0, 8.0]])
    a, b = similarity(points, np.column_stack([-2 * points[:, 1] + 5, 2 * points[:, 0] - 1]))
    assert a == pytest.approx(2j)
    assert b == pytest.approx(5 - 1j)

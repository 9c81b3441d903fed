"""The picture that shows a layout, its references and what was made of them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imig.contextgen.sample import PictureSample, ReferencePicture
from imig.display import palette
from imig.display.result_picture import CELL, MARGIN, draw_result

GREEN = (10, 240, 20)


def sample(count: int, *, width: int = 192, height: int = 192) -> PictureSample:
    references = tuple(
        ReferencePicture(
            image=np.full((48, 32, 3), 128, dtype=np.uint8),
            mask=np.ones((48, 32), dtype=bool),
            box=(10.0 + number, 48.0, 90.0 + number, 150.0),
            name="a thing with a name that is longer than its cell",
        )
        for number in range(count)
    )
    layout = np.full((height, width, 3), 128, dtype=np.uint8)
    return PictureSample("scene", "a caption", layout, references)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def test_layout_references_and_result_stand_side_by_side() -> None:
    pictures = sample(1)
    result = np.full_like(pictures.layout, GREEN)
    page = pixels(draw_result(pictures, result, note="seed 3"))
    green = (page == GREEN).all(axis=2)
    # 192 pixels are shown at 384; the box at twice its size, in the first colour, in both.
    left = page.shape[1] - MARGIN - 384
    assert green[:, left : left + 384].any(axis=0).all()
    assert not green[:, :left].any()
    frames = (page == palette.instance_colour(0)).all(axis=2)
    top = np.flatnonzero(green.any(axis=1))[0]
    for start in (MARGIN, left):
        column = frames[top + 100 : top + 300, start + 21]
        row = frames[top + 97, start + 50 : start + 180]
        assert column.all()
        assert row.all()
    assert frames[:, MARGIN + 384 : left].any()


def test_the_target_is_shown_where_there_is_one() -> None:
    pictures = sample(2)
    result = np.zeros_like(pictures.layout)
    without = draw_result(pictures, result)
    target = np.full((64, 64, 3), GREEN, dtype=np.uint8)  # shown at the layout's size, as boxes are
    shown = draw_result(pictures, result, target=target)
    assert shown.width == without.width + 384 + MARGIN
    assert (pixels(shown)[:, -MARGIN - 384 :] == GREEN).all(axis=2).sum() > 384 * 384 * 0.8


@pytest.mark.parametrize(
    ("count", "width", "height"), [(0, 192, 192), (23, 192, 96), (3, 8192, 16), (3, 16, 1024)]
)
def test_any_number_and_shape(count: int, width: int, height: int) -> None:
    pictures = sample(count, width=width, height=height)
    page = draw_result(pictures, pictures.layout)
    assert page.width < 8000
    assert page.height < 2000
    colours = [palette.instance_colour(number) for number in range(min(count, 10))]
    cells = [int((pixels(page) == colour).all(axis=2).sum()) for colour in colours]
    assert all(count >= 4 * CELL for count in cells)

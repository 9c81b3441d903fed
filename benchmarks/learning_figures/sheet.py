"""A picture to look at: a few held-out layouts, and what every row of the table makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from imig.contextgen.sample import PictureSample
from imig.display import palette
from imig.display.target_panel import draw_box
from imig.display.text import font, line_height, wrap

_CELL, _GAP, _MARGIN, _TITLE = 160, 8, 16, 13

Picture = NDArray[np.uint8]


def draw_sheet(
    samples: Sequence[PictureSample], columns: Sequence[tuple[str, Sequence[Picture]]]
) -> Image.Image:
    """A row for each layout: the layout image with its boxes, then a column a title.

    Parameters
    ----------
    columns:
        Titles, and a picture (h, w, 3) for each of `samples`.
    """
    layouts = [one.layout for one in samples]
    shown = [("layout image and boxes", layouts), *columns]
    face = font(_TITLE)
    titles = [wrap(title, face=face, width=_CELL, max_lines=3) for title, _ in shown]
    top = _MARGIN + 3 * line_height(face) + 4
    width = 2 * _MARGIN + len(shown) * (_CELL + _GAP) - _GAP
    height = top + len(samples) * (_CELL + _GAP) - _GAP + _MARGIN
    sheet = Image.new("RGB", (width, height), palette.PAGE)
    draw = ImageDraw.Draw(sheet)
    for column, (_, pictures) in enumerate(shown):
        left = _MARGIN + column * (_CELL + _GAP)
        for number, line in enumerate(titles[column]):
            draw.text((left, _MARGIN + number * line_height(face)), line, palette.INK, font=face)
        for row, (one, picture) in enumerate(zip(samples, pictures, strict=True)):
            cell = _fit(picture)
            if column == 0:
                _draw_boxes(cell, one)
            sheet.paste(cell, (left, top + row * (_CELL + _GAP)))
    return sheet


def _fit(picture: Picture) -> Image.Image:
    height, width = picture.shape[:2]
    scale = _CELL / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)


def _draw_boxes(cell: Image.Image, sample: PictureSample) -> None:
    draw = ImageDraw.Draw(cell)
    scale = cell.width / sample.layout.shape[1]
    for number, one in enumerate(sample.references):
        x1, y1, x2, y2 = (round(value * scale) for value in one.box)
        draw_box(draw, (x1, y1, x2, y2), colour=palette.instance_colour(number))

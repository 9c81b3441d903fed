"""One picture of what a case asked for and what was drawn: boxes, references, truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from imig.display import palette
from imig.display.target_panel import draw_badge, draw_box, draw_dashed_box
from imig.display.text import font, line_height, shorten, titled
from imig.layout.placement import Rectangle

SIDE = 288
"""Pixels: the longer side of a picture."""
CELL = 104
MARGIN = 14
_GAP, _BADGE, _NAME_SIZE = 10, 20, 12


@dataclass(frozen=True)
class CaseReferencePicture:
    """A subject that was asked for."""

    name: str
    image: Image.Image | None
    """None: nobody gave a picture of it."""


def draw_case(
    picture: Image.Image,
    *,
    wanted: Sequence[Rectangle | None],
    found: Sequence[Rectangle | None],
    references: Sequence[CaseReferencePicture],
    target: Image.Image | None = None,
) -> Image.Image:
    """The picture with its boxes, the references, and the true picture, side by side.

    Parameters
    ----------
    wanted, found:
        Boxes of the instances in pixels of the picture; whole and dashed frames. `found` may be
        empty.
    references:
        One an instance.
    target:
        Of the picture's shape; its boxes are the wanted ones.
    """
    panels = [titled(_panel(picture, wanted, found), "drawn")]
    if references:
        grid = _grid(references, height=panels[0].height)
        panels.append(titled(grid, "references"))
    if target is not None:
        panels.append(titled(_panel(target.resize(picture.size), wanted, ()), "true picture"))
    width = sum(one.width for one in panels) + MARGIN * (len(panels) + 1)
    sheet = Image.new("RGB", (width, max(one.height for one in panels) + 2 * MARGIN), palette.PAGE)
    left = MARGIN
    for one in panels:
        sheet.paste(one, (left, MARGIN))
        left += one.width + MARGIN
    return sheet


def _panel(
    picture: Image.Image, wanted: Sequence[Rectangle | None], found: Sequence[Rectangle | None]
) -> Image.Image:
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    panel = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(panel)
    for number, box in enumerate(found):
        if box is not None:
            colour = palette.instance_colour(number)
            draw_dashed_box(draw, _scaled(box, scale), colour=colour)
    corners = {}
    for number, box in enumerate(wanted):
        if box is not None:
            corners[number] = _scaled(box, scale)
            draw_box(draw, corners[number], colour=palette.instance_colour(number))
    for number, (left, top, _, _) in corners.items():
        corner = (
            min(max(left, 0), max(size[0] - _BADGE - 1, 0)),
            min(max(top, 0), max(size[1] - _BADGE - 1, 0)),
        )
        draw_badge(draw, corner, number + 1, size=_BADGE)
    return panel


def _scaled(box: Rectangle, scale: float) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (round(value * scale) for value in box)
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def _grid(references: Sequence[CaseReferencePicture], *, height: int) -> Image.Image:
    """In columns of about that height."""
    row = CELL + line_height(font(_NAME_SIZE)) + _GAP
    rows = min(max(1, (height + _GAP) // row), len(references))
    columns = math.ceil(len(references) / rows)
    grid = Image.new("RGB", (columns * (CELL + _GAP) - _GAP, rows * row - _GAP), palette.PAGE)
    for number, one in enumerate(references):
        grid.paste(_cell(one, number), (number // rows * (CELL + _GAP), number % rows * row))
    return grid


def _cell(reference: CaseReferencePicture, number: int) -> Image.Image:
    face = font(_NAME_SIZE)
    cell = Image.new("RGB", (CELL, CELL + line_height(face)), palette.PAGE)
    draw = ImageDraw.Draw(cell)
    draw.rectangle((0, 0, CELL - 1, CELL - 1), fill=palette.PANEL)
    if reference.image is not None:
        picture = reference.image
        scale = (CELL - 8) / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        corner = ((CELL - size[0]) // 2, (CELL - size[1]) // 2)
        cell.paste(picture.resize(size, Image.Resampling.LANCZOS), corner)
    draw.rectangle((0, 0, CELL - 1, CELL - 1), outline=palette.instance_colour(number), width=3)
    draw_badge(draw, (0, 0), number + 1, size=_BADGE)
    name = shorten(reference.name, face=face, width=CELL)
    draw.text((0, CELL), name, fill=palette.QUIET_INK, font=face)
    return cell

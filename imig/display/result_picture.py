"""One picture of what a model made of a layout: layout, references, result, boxes on them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from imig.contextgen.sample import Box, PictureSample, ReferencePicture
from imig.display import palette
from imig.display.target_panel import draw_badge, draw_box
from imig.display.text import TITLE_SIZE, font, line_height, shorten, title_height, titled, wrap

MARGIN = 20
PICTURE_SIDE = (384, 768)
"""Pictures are shown at their own size unless their longer side is outside of these limits."""
CELL = 124
_CELL_GAP, _BADGE = 10, 22
_CAPTION_SIZE, _NAME_SIZE = 17, 12


def draw_result(
    pictures: PictureSample,
    result: NDArray[np.uint8],
    *,
    caption: str = "",
    note: str = "",
    target: NDArray[np.uint8] | None = None,
) -> Image.Image:
    """Layout, references and result side by side, with the boxes and their numbers.

    Parameters
    ----------
    pictures:
        What the model got; where it has a target, that is shown too.
    result:
        (h, w, 3) as large as the layout.
    caption:
        The heading; empty: what the text encoders got.
    note:
        Small words below the heading, e.g. the seed.
    target:
        Shown in the place of the sample's own target, at the layout's size.
    """
    shown = pictures.target if target is None else _resized(target, pictures.layout.shape)
    boxes = [one.box for one in pictures.references]
    panels = [titled(_picture_panel(pictures.layout, boxes), "layout")]
    if pictures.references:
        grid = _reference_grid(pictures.references, height=panels[0].height - title_height())
        panels.append(titled(grid, "references"))
    panels.append(titled(_picture_panel(result, boxes), "result"))
    if shown is not None:
        panels.append(titled(_picture_panel(shown, boxes), "target"))
    return _page(panels, heading=caption or pictures.caption, note=note)


def _resized(picture: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """To the height and width at which `shape` begins."""
    height, width = shape[:2]
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def _picture_panel(picture: NDArray[np.uint8], boxes: Sequence[Box]) -> Image.Image:
    height, width = picture.shape[:2]
    longer = max(width, height)
    scale = min(max(longer, PICTURE_SIDE[0]), PICTURE_SIDE[1]) / longer
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    panel = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(panel)
    corners = [_panel_box(box, scale=scale) for box in boxes]
    for number, box in enumerate(corners):
        draw_box(draw, box, colour=palette.instance_colour(number))
    # After all boxes, so that no number lies under a line; above its box, where there is room.
    for number, (left, top, _, _) in enumerate(corners):
        above = top - _BADGE - 2
        corner = (
            min(max(left, 0), max(size[0] - _BADGE - 1, 0)),
            min(above if above >= 0 else max(top, 0), max(size[1] - _BADGE - 1, 0)),
        )
        draw_badge(draw, corner, number + 1, size=_BADGE)
    return panel


def _panel_box(box: Box, *, scale: float) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (round(value * scale) for value in box)
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def _reference_grid(references: Sequence[ReferencePicture], *, height: int) -> Image.Image:
    """The references in columns of about that height."""
    row = CELL + line_height(font(_NAME_SIZE)) + _CELL_GAP
    rows = min(max(1, (height + _CELL_GAP) // row), len(references))
    columns = math.ceil(len(references) / rows)
    size = (columns * (CELL + _CELL_GAP) - _CELL_GAP, rows * row - _CELL_GAP)
    grid = Image.new("RGB", size, palette.PAGE)
    for number, one in enumerate(references):
        corner = (number // rows * (CELL + _CELL_GAP), number % rows * row)
        grid.paste(_reference_cell(one, number), corner)
    return grid


def _reference_cell(reference: ReferencePicture, number: int) -> Image.Image:
    face = font(_NAME_SIZE)
    cell = Image.new("RGB", (CELL, CELL + line_height(face)), palette.PAGE)
    draw = ImageDraw.Draw(cell)
    picture = Image.fromarray(reference.image)
    scale = (CELL - 8) / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    draw.rectangle((0, 0, CELL - 1, CELL - 1), fill=palette.PANEL)
    corner = ((CELL - size[0]) // 2, (CELL - size[1]) // 2)
    cell.paste(picture.resize(size, Image.Resampling.LANCZOS), corner)
    draw.rectangle((0, 0, CELL - 1, CELL - 1), outline=palette.instance_colour(number), width=3)
    draw_badge(draw, (0, 0), number + 1, size=_BADGE)
    name = shorten(reference.name, face=face, width=CELL)
    draw.text((0, CELL), name, fill=palette.QUIET_INK, font=face)
    return cell


def _page(panels: Sequence[Image.Image], *, heading: str, note: str) -> Image.Image:
    width = sum(panel.width for panel in panels) + MARGIN * (len(panels) - 1)
    caption_face, note_face = font(_CAPTION_SIZE), font(TITLE_SIZE)
    lines = wrap(heading or "(no caption)", face=caption_face, width=width, max_lines=3)
    top = MARGIN + len(lines) * line_height(caption_face)
    body = top + (line_height(note_face) if note else 0) + 10
    size = (width + 2 * MARGIN, body + max(panel.height for panel in panels) + MARGIN)
    page = Image.new("RGB", size, palette.PAGE)
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        place = (MARGIN, MARGIN + number * line_height(caption_face))
        draw.text(place, line, fill=palette.INK, font=caption_face)
    words = shorten(note, face=note_face, width=width)
    draw.text((MARGIN, top), words, fill=palette.QUIET_INK, font=note_face)
    left = MARGIN
    for panel in panels:
        page.paste(panel, (left, body))
        left += panel.width + MARGIN
    return page

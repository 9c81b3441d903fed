"""The references of a scene, one cell each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from imig.display import palette
from imig.display.target_panel import draw_badge
from imig.display.text import font, line_height, shorten, wrap
from imig.schema import INSTANCE_FIGURES
from imig.shards.views import InstanceView, ReferenceView, SceneView

CELL_WIDTH = 208
PICTURE_HEIGHT = 176
CELL_GAP = 14
_HEADING_SIZE, _SCORE_SIZE, _BADGE = 14, 12, 22
_HEADING_LINES = 2
_TEXT_LINES = 3
"""Of an instruction, a prompt, an answer."""
_SEPARATOR = " · "


@dataclass(frozen=True)
class _CellShape:
    """Lines of text above and below each picture: the most that any cell of the grid needs."""

    heading_lines: int
    score_lines: int

    @property
    def picture_top(self) -> int:
        return self.heading_lines * line_height(font(_HEADING_SIZE)) + 8

    @property
    def height(self) -> int:
        scores = self.score_lines * line_height(font(_SCORE_SIZE))
        return self.picture_top + PICTURE_HEIGHT + 8 + scores


def draw_references(scene: SceneView, *, height: int, max_columns: int = 6) -> Image.Image | None:
    """All references in a grid of about that height, None for a scene without any.

    As many columns as keep the grid within `height`, at most `max_columns`.
    """
    cells = [(one, reference) for one in scene.instances for reference in one.references]
    if not cells:
        return None
    shape = _CellShape(
        heading_lines=max(len(_heading(one)) for one, _ in cells),
        score_lines=max(len(score_lines(*cell)) for cell in cells),
    )
    row = shape.height + CELL_GAP
    rows_that_fit = max(1, (height + CELL_GAP) // row)
    columns = min(max_columns, math.ceil(len(cells) / rows_that_fit))
    rows = math.ceil(len(cells) / columns)
    size = (columns * (CELL_WIDTH + CELL_GAP) - CELL_GAP, rows * row - CELL_GAP)
    panel = Image.new("RGB", size, palette.PAGE)
    for place, (one, reference) in enumerate(cells):
        corner = (place % columns * (CELL_WIDTH + CELL_GAP), place // columns * row)
        panel.paste(_draw_cell(one, reference, shape), corner)
    return panel


def score_lines(instance: InstanceView, reference: ReferenceView) -> list[str]:
    """What is known about a reference, in short lines; what was not computed is left out."""
    one, view = instance.record, reference.record
    similarity = view.similarity
    grounding = None if one.grounding is None else one.grounding.score
    segmentation = None if one.segmentation is None else one.segmentation.score
    layer = [] if one.layer is None else [f"layer {one.layer}"]
    lines = [
        _SEPARATOR.join([view.kind, f"{view.width}×{view.height}", *layer]),
        _figures(*((figure.short, figure.of(one.scores)) for figure in INSTANCE_FIGURES)),
        _figures(("grounding", grounding), ("mask", segmentation)),
        _figures(("DINO", similarity.dino), ("CLIP", similarity.clip), ("face", similarity.face)),
    ]
    if lines[-1]:
        lines[-1] = f"view: {lines[-1]}"
    texts = []
    if view.edit is not None:
        texts.append(view.edit.instruction)
    if view.drawing is not None:
        texts.append(view.drawing.prompt)
    if view.agreement is not None:
        answer = "agrees" if view.agreement.agrees else "disagrees"
        texts.append(f"{answer}: {view.agreement.reason}")
    small = font(_SCORE_SIZE)
    for text in texts:
        lines += wrap(text, face=small, width=CELL_WIDTH, max_lines=_TEXT_LINES)
    return [line for line in lines if line]


def _figures(*figures: tuple[str, float | None]) -> str:
    return _SEPARATOR.join(f"{name} {value:.2f}" for name, value in figures if value is not None)


def _heading(instance: InstanceView) -> list[str]:
    return wrap(
        instance.record.phrase,
        face=font(_HEADING_SIZE),
        width=CELL_WIDTH - _BADGE - 8,
        max_lines=_HEADING_LINES,
    )


def _draw_cell(instance: InstanceView, reference: ReferenceView, shape: _CellShape) -> Image.Image:
    cell = Image.new("RGB", (CELL_WIDTH, shape.height), palette.PAGE)
    draw = ImageDraw.Draw(cell)
    heading = font(_HEADING_SIZE)
    lines = _heading(instance)
    # Close to the picture, whether it is one line or two.
    start = 3 + (shape.heading_lines - len(lines)) * line_height(heading)
    draw_badge(draw, (0, start - 3), instance.record.index + 1, size=_BADGE)
    for number, line in enumerate(lines):
        top = start + number * line_height(heading)
        draw.text((_BADGE + 8, top), line, fill=palette.INK, font=heading)

    top = shape.picture_top
    cell.paste(_draw_picture(reference), (0, top))
    draw.rectangle(
        (0, top, CELL_WIDTH - 1, top + PICTURE_HEIGHT - 1),
        outline=palette.instance_colour(instance.record.index),
        width=4,
    )
    small = font(_SCORE_SIZE)
    top += PICTURE_HEIGHT + 4
    for number, line in enumerate(score_lines(instance, reference)):
        ink = palette.INK if number == 0 else palette.QUIET_INK
        text = shorten(line, face=small, width=CELL_WIDTH)
        draw.text((0, top + number * line_height(small)), text, fill=ink, font=small)
    return cell


def _draw_picture(reference: ReferenceView) -> Image.Image:
    """The reference inside the frame; what is not the subject is faded."""
    frame = Image.new("RGB", (CELL_WIDTH, PICTURE_HEIGHT), palette.PANEL)
    room = (CELL_WIDTH - 12, PICTURE_HEIGHT - 12)
    image = reference.image.convert("RGB")
    if reference.mask is not None:
        faded = Image.blend(image, Image.new("RGB", image.size, palette.PANEL), 0.72)
        image = Image.composite(image, faded, Image.fromarray(np.ascontiguousarray(reference.mask)))
    scale = min(room[0] / image.width, room[1] / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    picture = image.resize(size, Image.Resampling.LANCZOS)
    frame.paste(picture, ((CELL_WIDTH - size[0]) // 2, (PICTURE_HEIGHT - size[1]) // 2))
    return frame

"""The target with its boxes, masks and labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from imig.display import palette
from imig.display.labels import PlacedLabel, Rectangle, place_labels
from imig.display.text import font, line_height, shorten
from imig.shards.views import InstanceView, SceneView

LONG_SIDE = 768
SHORTEST_SIDE = 288
"""A panel is never narrower or lower: beside a very long target the labels need room."""
MASK_OPACITY = 0.25
LABEL_TEXT_SIZE = 15
MAX_DRAWN = 60
"""Of more instances the largest get mask and label: there is no room for others, and finding out
takes minutes."""
_DASH = 6
"""Pixels: how long a dash is, and the gap behind it."""
_PADDING = 5
_OUTLINE = 2
"""Pixels: how wide the outline of a mask is."""


def target_scale(scene: SceneView) -> float:
    """Panel pixels a target pixel."""
    width, height = scene.target.size
    return LONG_SIDE / max(width, height)


def draw_target(scene: SceneView, *, layers: Collection[str]) -> Image.Image:
    """The target at about 768 px, with what `layers` names of boxes, masks and labels."""
    scale = target_scale(scene)
    size = _scaled_size(scene.target.size, scale)
    picture = scene.target.resize(size, Image.Resampling.LANCZOS)
    nearest_last = sorted(scene.instances, key=lambda one: one.record.layer or 0)
    drawn = _largest(scene.instances)
    if "masks" in layers:
        for one in nearest_last:
            if one.record.index in drawn and one.mask is not None:
                picture = _with_mask(
                    picture, one.mask, colour=palette.instance_colour(one.record.index)
                )

    panel_size = (max(size[0], SHORTEST_SIDE), max(size[1], SHORTEST_SIDE))
    panel = Image.new("RGB", panel_size, palette.PANEL)
    left, top = (panel_size[0] - size[0]) // 2, (panel_size[1] - size[1]) // 2
    panel.paste(picture, (left, top))
    boxes = [_panel_box(one, scale=scale, left=left, top=top) for one in scene.instances]
    draw = ImageDraw.Draw(panel)
    if "boxes" in layers:
        for one in nearest_last:
            index = one.record.index
            draw_box(draw, boxes[index], colour=palette.instance_colour(index))
    if "labels" in layers:
        labelled = [one for one in scene.instances if one.record.index in drawn]
        its_boxes = [boxes[one.record.index] for one in labelled]
        _draw_labels(draw, labelled, its_boxes, canvas=panel_size)
    return panel


def label_texts(instance: InstanceView, *, width: int) -> list[str]:
    """From the full label to the number alone, which always tells the instance."""
    number = str(instance.record.index + 1)
    face = font(LABEL_TEXT_SIZE)
    room = width - face.getlength(f"{number}  ")
    phrase = instance.record.phrase
    return [
        f"{number}  {shorten(phrase, face=face, width=room)}",
        f"{number}  {shorten(phrase, face=face, width=room / 2)}",
        number,
    ]


def draw_badge(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], number: int, *, size: int
) -> None:
    """A filled square with the instance's number in the instance's colour."""
    colour = palette.instance_colour(number - 1)
    left, top = corner
    draw.rounded_rectangle((left, top, left + size, top + size), radius=3, fill=colour)
    draw.text(
        (left + size / 2, top + size / 2),
        str(number),
        fill=palette.ink_on(colour),
        font=font(round(size * 0.62), bold=True),
        anchor="mm",
    )


def _largest(instances: Sequence[InstanceView]) -> set[int]:
    """The indices of at most `MAX_DRAWN`, the largest boxes."""

    def area(instance: InstanceView) -> int:
        x1, y1, x2, y2 = instance.record.box
        return (x2 - x1) * (y2 - y1)

    return {one.record.index for one in sorted(instances, key=area)[-MAX_DRAWN:]}


def _scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _panel_box(instance: InstanceView, *, scale: float, left: int, top: int) -> Rectangle:
    x1, y1, x2, y2 = (round(value * scale) for value in instance.record.box)
    return left + x1, top + y1, left + max(x2, x1 + 1), top + max(y2, y1 + 1)


def _with_mask(
    picture: Image.Image, mask: NDArray[np.bool_], *, colour: palette.Colour
) -> Image.Image:
    """Tint the pixels of a mask, and draw its outline."""
    # Bicubic and a steep ramp: the outline of a small mask becomes smooth, not blocky.
    enlarged = Image.fromarray(mask).convert("L").resize(picture.size, Image.Resampling.BICUBIC)
    soft = enlarged.point([min(max((value - 112) * 8, 0), 255) for value in range(256)])
    tinted = Image.composite(
        Image.blend(picture, Image.new("RGB", picture.size, colour), MASK_OPACITY), picture, soft
    )
    values = np.asarray(soft)
    tinted.paste(colour, (0, 0), Image.fromarray(values - least_around(values, radius=_OUTLINE)))
    return tinted


def least_around(values: NDArray[np.uint8], *, radius: int) -> NDArray[np.uint8]:
    """The least value in the square of `2 * radius + 1` pixels around each pixel, (h, w).

    What Pillow's `MinFilter` answers; rows and then columns, which takes a hundredth of the time.
    """
    padded = np.pad(values, radius, mode="edge")
    height, width = values.shape
    steps = range(2 * radius + 1)
    rows = np.minimum.reduce([padded[:, step : step + width] for step in steps])
    least: NDArray[np.uint8] = np.minimum.reduce([rows[step : step + height] for step in steps])
    return least


def draw_box(draw: ImageDraw.ImageDraw, box: Rectangle, *, colour: palette.Colour) -> None:
    """A coloured frame between two thin dark lines: it shows on any picture."""
    x1, y1, x2, y2 = box[0], box[1], box[2] - 1, box[3] - 1
    for inset, width, ink in ((-1, 1, palette.INK), (0, 3, colour), (3, 1, palette.INK)):
        corners = (x1 + inset, y1 + inset, x2 - inset, y2 - inset)
        if corners[0] <= corners[2] and corners[1] <= corners[3]:
            draw.rectangle(corners, outline=ink, width=width)


def draw_dashed_box(draw: ImageDraw.ImageDraw, box: Rectangle, *, colour: palette.Colour) -> None:
    """A frame of dashes in the colour, on a dark line: it shows on any picture."""
    x1, y1, x2, y2 = box[0], box[1], box[2] - 1, box[3] - 1
    for start, end in (
        ((x1, y1), (x2, y1)),
        ((x2, y1), (x2, y2)),
        ((x2, y2), (x1, y2)),
        ((x1, y2), (x1, y1)),
    ):
        draw.line((start, end), fill=palette.INK, width=1)
        length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
        right = (end[0] > start[0]) - (end[0] < start[0])
        down = (end[1] > start[1]) - (end[1] < start[1])
        for begin in range(0, length, 2 * _DASH):
            stop = min(begin + _DASH, length)
            dash = (
                (start[0] + right * begin, start[1] + down * begin),
                (start[0] + right * stop, start[1] + down * stop),
            )
            draw.line(dash, fill=colour, width=3)


def _draw_labels(
    draw: ImageDraw.ImageDraw,
    instances: list[InstanceView],
    boxes: list[Rectangle],
    *,
    canvas: tuple[int, int],
) -> None:
    face = font(LABEL_TEXT_SIZE)
    height = line_height(face) + _PADDING
    longest = min(300, canvas[0] * 3 // 4)
    texts = [label_texts(one, width=longest) for one in instances]
    sizes = [
        [(round(face.getlength(text)) + 2 * _PADDING + 1, height) for text in offered]
        for offered in texts
    ]
    placed = place_labels(boxes, sizes, canvas=canvas)
    for index, label in enumerate(placed):
        if label is not None and label.detached:
            colour = palette.instance_colour(instances[index].record.index)
            _draw_leader(draw, label, boxes[index], colour=colour)
    for index, label in enumerate(placed):
        if label is None:
            continue
        colour = palette.instance_colour(instances[index].record.index)
        x1, y1, x2, y2 = label.rectangle
        draw.rounded_rectangle((x1, y1, x2 - 1, y2 - 1), radius=4, fill=colour, outline=palette.INK)
        draw.text(
            (x1 + _PADDING, (y1 + y2) / 2),
            texts[index][label.variant],
            fill=palette.ink_on(colour),
            font=face,
            anchor="lm",
        )


def _draw_leader(
    draw: ImageDraw.ImageDraw, label: PlacedLabel, box: Rectangle, *, colour: palette.Colour
) -> None:
    """A line from the label to the nearest point of its box, with a dot at its end."""
    x1, y1, x2, y2 = label.rectangle
    start = (x1 + x2) // 2, (y1 + y2) // 2
    end = min(max(start[0], box[0]), box[2] - 1), min(max(start[1], box[1]), box[3] - 1)
    draw.line((start, end), fill=palette.INK, width=4)
    draw.line((start, end), fill=colour, width=2)
    draw.circle(end, 5, fill=colour, outline=palette.INK)
